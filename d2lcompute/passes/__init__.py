"""Forward passes that leave no trace."""
