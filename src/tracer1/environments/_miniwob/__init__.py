"""The MiniWoB++ recorder's inside: browser, page, rules and the loop around them. Private: use `environments.miniwob`."""
