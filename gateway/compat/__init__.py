"""What each model accepts, and how a request written for one is said to another.

Pure functions over bytes and frozen data: rewrite the request, say what was done and how to put the answer
back. Every rewrite depends on the conversation, the target model and the ruleset version alone, because newer
models bind thinking signatures to the exact conversation before them. What no rule names passes on untouched.
"""
