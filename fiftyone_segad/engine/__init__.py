"""Run a method over images, with an executor, into a store; nothing here knows FiftyOne."""
