"""Start the vLLM server of a frozen GUI executor, say where it is once it answers, and end it with Ctrl-C.

The options are those of conf/executor/NAME.yaml (`vllm:`); what follows -- goes to vLLM as it is and wins over them.

    python tools/serve_executor.py qwen3_vl_32b --gpus 0,1 --port 8001 -- --gpu-memory-utilization 0.8
    python tools/serve_executor.py ui_tars_1_5_7b --print
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))  # runs uninstalled

from tracer1.errors import Tracer1Error
from tracer1.executors._configs import frozen_names, frozen_settings
from tracer1.executors._serving import Server, serving


def read_arguments() -> argparse.Namespace:
    """The command line; exits with code 2 and the usage when it cannot work."""
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("executor", metavar="NAME", help=", ".join(frozen_names()))
    parser.add_argument("--weights", metavar="DIR", help="the model's folder, where it does not come from the hub")
    parser.add_argument("--host", default="127.0.0.1", help="where it listens; 0.0.0.0 for other machines")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--gpus", metavar="0,1", help="which GPUs the model is divided among")
    parser.add_argument("--wait-s", type=float, default=1800, help="how long it may take to answer, in seconds")
    parser.add_argument("--print", action="store_true", help="only show the command")
    return parser.parse_args(given[:cut], argparse.Namespace(more=given[cut + 1 :]))


def main() -> int:
    """Runs until the server ends; returns 0 after Ctrl-C, 1 where the server ended by itself, 2 where it could not start."""
    args = read_arguments()
    try:
        spec = frozen_settings(args.executor)
        server = Server(spec["model"], spec["vllm"], args.weights, args.host, args.port, args.gpus, args.more)
        if args.print:
            print(server.shown())
            return 0
        print(f"{server.shown()}\nstarting; its output goes to {server.log}", flush=True)
        with serving(server, args.wait_s) as process:
            print(f"ready: executor={args.executor} executor.server.endpoints=[{server.url}]", flush=True)
            process.wait()
            print(f"serve_executor: it ended with code {process.returncode}. {server.last_lines()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except (Tracer1Error, OSError) as error:
        print(f"serve_executor: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
