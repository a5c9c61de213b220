"""Rules under which GUI-Odyssey is scored: the owner's action matching, and OS-Atlas's step success, which UI-TARS tabulates."""
