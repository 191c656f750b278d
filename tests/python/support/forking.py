"""Text for the programs of tests that fork, which import faulthandler, os, signal and sys."""

from __future__ import annotations

#: `in_child(work)`: calls `work` in the child of a fork, and asserts that it succeeded.
IN_CHILD = """
    faulthandler.register(signal.SIGALRM, chain=True)  # a child that hangs says where, and dies

    def in_child(work):
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(120)
            try:
                work()
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
