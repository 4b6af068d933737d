"""The commands of `litellm-gateway`, a module each, named after its command, with the click command as `command`.

Their own imports are click and what costs as little; all else is imported when a command runs, so that `--help` and
the shell's completion are quick.
"""
