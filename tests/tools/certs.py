# SPDX-License-Identifier: Apache-2.0
"""Test certificates with the openssl program: a root, an intermediate, leaves for localhost.

make(directory, name) writes DIR/name-root.pem (what clients trust), DIR/name-chain.pem (leaf and
intermediate: what a server shows) and DIR/name-key.pem. Used by tests/e2e.
"""
import os
import subprocess

CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n"


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def sign(directory, name, subject, extensions, issuer, days="2"):
    path = lambda kind: os.path.join(directory, name + kind)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path("-key.pem"))
    openssl("req", "-new", "-key", path("-key.pem"), "-subj", "/CN=" + subject, "-out", path(".csr"))
    with open(path(".ext"), "w") as f:
        f.write(extensions)
    how = ["-signkey", path("-key.pem")]
    if issuer:
        base = os.path.join(directory, issuer)
        how = ["-CA", base + ".pem", "-CAkey", base + "-key.pem", "-CAcreateserial"]
    openssl("x509", "-req", "-in", path(".csr"), "-days", days, "-extfile", path(".ext"), *how, "-out", path(".pem"))


def make(directory, name, names="DNS:localhost,IP:127.0.0.1"):
    sign(directory, name + "-root", name + " root", CA, None)
    sign(directory, name + "-inter", name + " intermediate", CA, name + "-root")
    sign(directory, name, "localhost", LEAF % names, name + "-inter")
    with open(os.path.join(directory, name + "-chain.pem"), "w") as out:
        for part in (name, name + "-inter"):
            with open(os.path.join(directory, part + ".pem")) as f:
                out.write(f.read())
    return {
        "root": os.path.join(directory, name + "-root.pem"),
        "chain": os.path.join(directory, name + "-chain.pem"),
        "key": os.path.join(directory, name + "-key.pem"),
    }
