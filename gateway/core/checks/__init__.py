"""Whether an answer is what its task asks for: configured checks of text, and of tool calls."""

from gateway.core.booking import TOOL_ERROR
from gateway.core.checks.compiled import Compiled, compile_checks, judge

__all__ = ["TOOL_ERROR", "Compiled", "compile_checks", "judge"]
