"""/docs and its guides for people; /openapi.json and others for programs."""
