"""As much of Ray as collectors need, in this process; what an actor is asked for is done when awaited."""

import pickle
from types import SimpleNamespace

from torchrl_gpu.seeding import Generators, kept_generators


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class ActorDiedError(RayError):
    pass


class LocalRayletDiedError(RayError):
    pass


class RaySystemError(RayError):
    pass


ERRORS = (RayError, RayTaskError, ActorDiedError, LocalRayletDiedError, RaySystemError)


class Ref:
    """A value, or what an actor will give."""

    def __init__(self, actor=None, value=None):
        self.actor, self.value, self.error, self.done = actor, value, None, actor is None


class Method:
    def __init__(self, actor, name):
        self.actor, self.name = actor, name

    def remote(self, *args):
        values = [arg.value if isinstance(arg, Ref) else arg for arg in args]
        ref = Ref(self.actor)
        self.actor.asked.append((ref, self.name, pickle.dumps(values)))
        return ref


class Actor:
    """An object as if in a process of its own: its global generators are its own."""

    def __init__(self, kind, args):
        self.kind, self.args = kind, pickle.dumps(args)
        self.asked, self.dead, self.hung, self.object = [], False, False, None
        self.generators = None
        self.orders = []

    def __getattr__(self, name):
        return Method(self, name)

    def work(self):
        """Do what was asked for, in its order."""
        while self.asked and not self.hung:
            ref, name, args = self.asked.pop(0)
            if self.dead:
                ref.error, ref.done = ActorDiedError(), True
                continue
            with kept_generators("cpu"):
                self._do(ref, name, pickle.loads(args))

    def _do(self, ref, name, args):
        if self.generators:
            Generators("cpu").load_state_dict(self.generators)
        try:
            self.object = self.object or self.kind(*pickle.loads(self.args))
            self.orders += [args[0]] if name == "collect" else []
            ref.value = pickle.loads(pickle.dumps(getattr(self.object, name)(*args)))
        except Exception as error:
            ref.error = type("RayTaskError", (RayTaskError, type(error)), {})(str(error))
        ref.done = True
        self.generators = Generators("cpu").state_dict()


class FakeRay:
    """The module."""

    exceptions = SimpleNamespace(**{error.__name__: error for error in ERRORS})

    def __init__(self):
        self.actors = []
        self.options = {}
        self.patience = []  # timeouts of all waits

    def remote(self, **options):
        self.options = options
        return lambda kind: SimpleNamespace(remote=lambda *args: self._new(kind, args))

    def _new(self, kind, args):
        self.actors.append(Actor(kind, args))
        return self.actors[-1]

    def put(self, value):
        return Ref(value=pickle.loads(pickle.dumps(value)))

    def wait(self, refs, timeout=None):
        self.patience.append(timeout)
        for ref in refs:
            ref.actor.work()
        ready = [ref for ref in refs if ref.done]
        return ready[:1], [ref for ref in refs if ref not in ready[:1]]

    def get(self, ref):
        assert ref.done
        if ref.error:
            raise ref.error
        return ref.value

    def kill(self, actor):
        actor.dead, actor.hung = True, False
        actor.work()
