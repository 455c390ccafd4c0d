"""Hooks of a mode: what is accepted as one, and what their errors end."""

from __future__ import annotations

import pytest

import kroton


def test_what_is_no_tuple_of_hooks_is_refused_when_the_mode_is_made():
    hook = kroton.gof.Hook()
    for make in (kroton.Mode, kroton.ProfileMode, kroton.MonitorMode, kroton.NanGuardMode):
        with pytest.raises(TypeError, match=r"write hooks=\(hook,\)"):
            make(hooks=hook)
        with pytest.raises(TypeError, match=r"derived from .*Hook; the object 3"):
            make(hooks=(3,))
        with pytest.raises(TypeError, match=r"the class .* is none"):
            make(hooks=(kroton.gof.Hook,))
        assert hook in make(hooks=[hook]).hooks


def test_an_error_of_a_hook_ends_the_call_before_updates_but_for_call_finished():
    class Raises(kroton.gof.Hook):
        def __init__(self, event):
            self.event = event

        def call_started(self, function, inputs):
            self.told("call_started")

        def after_apply(self, function, position, node, inputs, outputs, seconds):
            self.told("after_apply")

        def call_finished(self, function, outputs, seconds):
            self.told("call_finished")

        def told(self, event):
            if event == self.event:
                raise RuntimeError(event)

    for event, value in (("call_started", 0.0), ("after_apply", 0.0), ("call_finished", 1.0)):
        s = kroton.shared(0.0)
        f = kroton.function([], updates=[(s, s + 1)], mode=kroton.Mode(hooks=(Raises(event),)))
        with pytest.raises(RuntimeError, match=event):
            f()
        assert s.get_value() == value
