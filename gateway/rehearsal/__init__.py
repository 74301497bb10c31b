"""`gateway migration rehearse`: everything that can go wrong with a migration, once, before it begins.

The migration that is configured is copied with its days taken out, and runs on a real gateway in front of a
simulated Messages API, under the traffic of five applications. Nobody steers it but its own gates. First a
good candidate must climb to the top; then one failure after the other is let loose in the middle of the ramp,
and it is noted which gate stopped it, how fast, and what the callers felt.

    scale      the copy of a migration, and what was changed in it
    failures   what goes wrong, and what must follow
    play       the servers, the callers, and everything in order
    stage      lets one thing go wrong and waits for what follows
    witness    what the callers saw from that moment
    report     how each ended, and whether that is how it had to end
"""
