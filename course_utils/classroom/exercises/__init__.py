"""Exercises that check themselves, and say which mistake was made (CONTRIBUTING.md shows how to add one)."""

from course_utils.classroom.exercises.checking import check, hint, progress, solution

__all__ = ["check", "hint", "progress", "solution"]
