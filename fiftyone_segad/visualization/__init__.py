"""Draw plots, pictures, reports and explanations of what it is handed."""
