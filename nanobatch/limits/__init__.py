"""When a lane may send: token buckets, daily quotas, adaptive concurrency and a circuit breaker behind one gate."""

from nanobatch.limits.gate import Gate, GateSnapshot, LaneClosed, LaneDown, LaneParked, LaneState, Permit

__all__ = ["Gate", "GateSnapshot", "LaneClosed", "LaneDown", "LaneParked", "LaneState", "Permit"]
