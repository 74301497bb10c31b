"""What a process keeps by itself without the store: files on its disk, and writes that it has yet to send."""
