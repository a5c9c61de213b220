"""Rules under which Multimodal-Mind2Web is scored. They differ in what they leave out and in how they average: see each."""
