"""``python -m rudp.cli`` is the command ``rudp``."""

from rudp.cli import main

if __name__ == "__main__":
    main()
