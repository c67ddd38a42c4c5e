"""Sign a request with AWS Signature Version 4. Imported by the programs next to it."""

import hashlib
import hmac
import time


def signed(method, path, body, headers, scope, credentials, now):
    """Return ``headers`` with those that sign the request.

    Args:
        method: such as "PUT".
        path: as it is sent, percent-encoded. There is no query.
        headers: by lower-case name, with "host".
        scope: (region, service).
        credentials: as the instance metadata service returns them.
        now: the current time in seconds since the epoch.
    """
    region, service = scope
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    headers = {**headers, "x-amz-date": stamp}
    if service == "s3":  # it also wants to know the digest
        headers["x-amz-content-sha256"] = digest
    if credentials.get("Token"):
        headers["x-amz-security-token"] = credentials["Token"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, path, "", lines, names, digest])
    place = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, place, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + credentials["SecretAccessKey"]).encode()
    for part in place.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{credentials['AccessKeyId']}/{place}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}
