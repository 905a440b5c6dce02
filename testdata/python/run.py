"""Run a script, as python SCRIPT does, and end without the destructors of libraries.

Threads of Arrow that still run when the interpreter ends abort it now and then
("terminate called without an active exception"), after the script has done all its
work and under load only: a test would fail for what nobody tests.
"""

import os
import runpy
import sys
import traceback

sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
code = 0
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    if isinstance(ended.code, str):
        print(ended.code, file=sys.stderr)
    code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
except BaseException:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
