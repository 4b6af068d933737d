"""`litellm-gateway doctor`: what is wrong with a gateway, and what to type next.

    targets     which gateways, with which key and which models
    matrix      listing and chat with each style on each form of the base, past litellm; which probes in which rounds
    probes      one such request, and what its answer means
    lanes       rounds of all gateways, side by side in threads
    checks      chat, stream, tools, pictures, embeddings, Router through litellm and the plugin
    selftest    whether litellm here is what the plugin needs
    diagnosis   what is wrong, in words, and the line to type next
    next_lines  those lines
    snippets    code and configuration to paste
    lines, table, page      what is printed into a pipe, on a terminal, into a file of HTML
    report      all of it as values
    names       what people call the checks

Only `checks` and `selftest` import litellm.
"""
