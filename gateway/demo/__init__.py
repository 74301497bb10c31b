"""`gateway demo`: a whole migration in a terminal, with nothing real but the software.

A simulated Messages API, the gateway on the embedded store, and the traffic of five applications, all on
loopback ports and in a directory that is gone afterwards. The gateway is started with its own command and
steered through its own admin API, as anybody would; what the closing summary claims was seen by the callers.

    world     starts and ends the two servers
    apps      what the applications ask                  answers   what they expect back
    callers   hundreds of users, who talk                tally     what they saw, per arm
    act       callers and an operator at the same time   story     two acts, and what must happen in them
"""
