"""What runs on the inner side of a sandbox's border: standard library only, and nothing here knows who asked or why."""
