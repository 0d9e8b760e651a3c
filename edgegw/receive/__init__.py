"""The upstream side: receive signed messages, prove them, store them, and sign the receipt.

From low to high: `notes` and `stretches`; `rows`, `evidence`, `opening`, `tables`, `upstream_store`; `conflicts`,
`epochs`, `holes`, `keyfolder`; `intake` decides about messages, `desk` about answers, `link` waits for the broker,
`run` wires them. Whoever starts it needs `ReceiveOptions` and `receive` of `edgegw.receive.run`.
"""
