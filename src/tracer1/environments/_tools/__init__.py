"""What the environment `tools` is made of: tasks read from where their owners keep them, the tools that they offer, an open desk."""
