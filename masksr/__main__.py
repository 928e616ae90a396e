from masksr.cli import main

raise SystemExit(main())
