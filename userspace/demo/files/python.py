# SPDX-License-Identifier: Apache-2.0
# A bot as people write it: http.client as it comes, certificates not verified, another address for each page.
import http.client, socket, ssl, sys, time

name, timeout, pause = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
pairs = [pair.split("=") for pair in sys.argv[4:]]


def visit(source, target):
    c = http.client.HTTPSConnection(name, 443, timeout=timeout, source_address=(source, 0))
    c._create_connection = lambda _, *rest: socket.create_connection((target, 443), *rest)
    c._context.check_hostname = False
    c._context.verify_mode = ssl.CERT_NONE
    try:
        c.request("GET", "/")
        status = c.getresponse().status
        return "served" if status == 200 else "failed status %d" % status
    except ConnectionResetError:
        return "failed reset"
    except TimeoutError:
        return "failed timeout"
    except (OSError, http.client.HTTPException) as e:
        return "failed %s" % e
    finally:
        c.close()


while True:
    for source, target in pairs:
        print("spillway:", visit(source, target), flush=True)
        time.sleep(pause)
