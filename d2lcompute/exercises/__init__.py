"""The chapter's exercises: behavioural checks with hints, one file a section."""
