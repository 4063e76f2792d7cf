"""How secrets look: the one table of token shapes, for whoever keeps them out of reports and submissions.

A shape is a token's published form (prefix, alphabet, length); the lengths are lower bounds where a service has used
several. Ordinary words, hashes and file names have none of these forms.
"""

import re

# What it is -> how it looks. Each can be told from any other text by itself.
SHAPES: dict[str, re.Pattern[str]] = {
    what: re.compile(pattern)
    for what, pattern in {
        "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}\b",
        "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{30,}",
        "a GitLab token": r"\bglpat-[\w-]{20,}",
        # The unbroken run tells a key from a long name with hyphens that begins with sk-.
        "an API key": r"\bsk-[A-Za-z0-9_-]*[A-Za-z0-9_]{20}[A-Za-z0-9_-]*",
        "an AWS key": r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b",
        "a Google key": r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])",
        "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
        "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
        "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:[\s\S]*?-----END (?:[A-Z]+ )?PRIVATE KEY-----)?",
    }.items()
}
# Secrets by their place only. In a file that explains how to log in the same places hold "YOUR_TOKEN_HERE".
IN_PLACE = re.compile(r"(?<=Bearer )[A-Za-z0-9._~+/-]{12,}=*|(?<=://)[^\s/:@\"'<>]+:[^\s/@\"'<>]+(?=@)")
