#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""llama-server.py - run llama.cpp's HTTP server out of the xllamacpp wheel.

The wheel carries the whole of llama.cpp's server as a Python extension but no
program that starts it.  This is that program.  It takes the options of
llama.cpp's own llama-server that runtime.sh passes, under the same names, so
that the two are one command line.  runtime.sh copies it beside the unpacked
wheel as "llama-server"; it must not import anything but that wheel and the
standard library.  Exit status: 0 after SIGTERM or SIGINT, 1 when the model
cannot be loaded or the address not bound, 2 on a wrong option.
"""

import argparse
import os
import signal
import socket
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))


def options(argv):
    ap = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    ap.add_argument("--model", required=True, metavar="FILE")
    ap.add_argument("--alias", default="", metavar="ID")
    ap.add_argument(
        "--host",
        default="127.0.0.1",
        help="an address, or the path of a UNIX socket (ends in .sock)",
    )
    ap.add_argument("--port", type=int, default=8080)
    ap.add_argument("--ctx-size", type=int, default=0, help="tokens, over all slots")
    ap.add_argument("--parallel", type=int, default=1, help="slots")
    ap.add_argument("--threads", type=int, default=-1)
    ap.add_argument("--cache-ram", type=int, default=64, help="MiB for prompts of other slots")
    ap.add_argument("--embeddings", action="store_true")
    ap.add_argument("--pooling", default="", choices=["", "mean", "cls", "last", "none"])
    ap.add_argument("--jinja", action="store_true", help="always on")
    ap.add_argument("--metrics", action="store_true")
    ap.add_argument("--no-ui", action="store_true")
    ap.add_argument("--version", action="store_true")
    if "--version" in argv:
        import xllamacpp

        print(xllamacpp.__version__)
        sys.exit(0)
    opt = ap.parse_args(argv)
    if not 0 <= opt.port <= 65535:
        ap.error("--port: 0 to 65535")
    if opt.parallel < 1 or opt.ctx_size < 0:
        ap.error("--parallel and --ctx-size: positive")
    return opt


def parameters(xl, opt):
    p = xl.CommonParams()
    p.model.path = opt.model
    if opt.alias:
        p.model_alias = {opt.alias}
    p.hostnames = [opt.host]
    p.port = opt.port
    p.n_ctx = opt.ctx_size
    p.n_parallel = opt.parallel
    p.cont_batching = True
    p.cache_ram_mib = opt.cache_ram  # llama.cpp's own default is 8 GiB
    p.use_jinja = True
    p.ui = False
    p.endpoint_metrics = opt.metrics
    p.embedding = opt.embeddings
    if opt.pooling:
        p.pooling_type = getattr(
            xl.llama_pooling_type, "LLAMA_POOLING_TYPE_" + opt.pooling.upper()
        )
    if opt.threads > 0:
        p.cpuparams.n_threads = opt.threads
        p.cpuparams_batch.n_threads = opt.threads
    return p


def remove_stale_socket(path):
    """llama.cpp cannot bind where a killed server left its socket: nobody answers there."""
    if not path.endswith(".sock"):
        return
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:  # none there, or not ours to judge: the bind will tell
            pass


def main(argv):
    opt = options(argv)
    # Blocked before the server makes its threads, so that they inherit the mask
    # and the signal waits for sigwait() instead of killing us in mid-answer.
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    import xllamacpp as xl

    if not os.path.isfile(opt.model):
        print("llama-server: no such model file: %s" % opt.model, file=sys.stderr)
        return 1
    remove_stale_socket(opt.host)
    try:
        server = xl.Server(parameters(xl, opt))
    except Exception as e:  # the wheel raises bare exceptions
        print("llama-server: %s" % e, file=sys.stderr)
        return 1
    print("llama-server: listening on %s" % server.listening_address, file=sys.stderr, flush=True)
    signal.sigwait(signals)
    # Running answers are cut by design: whoever stops the runtime has drained it.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
