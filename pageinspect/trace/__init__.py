"""Tracing: BPF programs of bpf/, run through the distribution's bcc. The only user of bcc."""
