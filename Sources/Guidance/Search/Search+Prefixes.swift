import Transformer

/// What requests that begin alike share.
extension Search {
  package func reusePrefixes(_ prefixes: PrefixCache) {
    for track in tracks {
      guard let engine = track.engine, let target = track.states[0].sequence else { continue }
      track.reusedCount = prefixes.reuse(for: track.prompt, in: target, on: engine, track.adapter)
    }
  }

  /// Of the best row: each track's prompt and what followed.
  package func keepPrefixes(in prefixes: inout PrefixCache) {
    let slot = isSingle || keptCount == 0 ? 0 : request.rowCount
    let row = rows[slot]
    // A scorer may have put its own end token in the place of the row's.
    let count = row.finish == .end ? row.count - 1 : row.count
    for track in tracks where !track.isTextual {
      guard let engine = track.engine, let source = track.states[slot].sequence else { continue }
      let length = min(engine.length(source), track.prompt.count + count)
      guard length > 0 else { continue }
      let tokens = (0..<length).map { track.token(at: $0, of: row) }
      prefixes.keep(tokens, of: source, on: engine, track.adapter)
    }
  }
}
