"""What tests share: stand-ins, servers, clients, browsers, clocks. tests/README.md says what to take."""
