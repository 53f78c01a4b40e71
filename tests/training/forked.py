"""Starts interrupted.py many times and imports once: a JSON line {"argv", "environment", "stderr"} forks a process and
answers its id; a line {"wait": id} answers its exit code, negative for a signal."""

import json
import os
import sys
import traceback

import interrupted
import torch._dynamo  # noqa: F401 (the first optimiser would import it in every process, for a second)

for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    code = 1
    try:
        os.environ.update(request["environment"])
        sys.argv = ["interrupted.py", *request["argv"]]
        os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = interrupted.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
