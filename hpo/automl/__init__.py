"""The AutoML route: a skill's train action as a search."""
