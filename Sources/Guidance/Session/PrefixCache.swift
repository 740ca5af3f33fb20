import Transformer

/// Sequences that earlier requests computed, for later ones that begin with the same tokens.
struct PrefixCache {
  private struct Entry {
    var engine: Engine
    var adapter: Adapter?
    var isLong: Bool
    var tokens: [Int32]
    var sequence: SequenceID
  }

  /// More prefixes than this are not kept; the oldest goes first.
  private static let limit = 8
  private var entries: [Entry] = []

  /// Keeps what `track` knows of a slot: its prompt and what followed.
  mutating func keep(_ track: Track, slot: Int, row: Row) {
    guard let engine = track.engine, let source = track.states[slot].sequence else { return }
    // A scorer may have put its own end token in the place of the row's.
    let count = row.finish == .end ? row.count - 1 : row.count
    let length = min(engine.length(source), track.prompt.count + count)
    guard length > 0 else { return }
    let tokens = (0..<length).map { track.token(at: $0, of: row) }
    if let known = entries.firstIndex(where: {
      $0.engine === engine && $0.adapter === track.adapter && $0.isLong == track.isLong
        && tokens.starts(with: $0.tokens)
    }) {
      engine.removeSequence(entries.remove(at: known).sequence)
    }
    let sequence = engine.makeSequence(adapter: track.adapter)
    engine.copy(source, to: sequence)
    engine.truncate(sequence, to: length)
    entries.append(
      Entry(
        engine: engine, adapter: track.adapter, isLong: track.isLong, tokens: tokens,
        sequence: sequence))
    if entries.count > Self.limit {
      let oldest = entries.removeFirst()
      oldest.engine.removeSequence(oldest.sequence)
    }
  }

  /// Gives a new track's first slot the longest known part of its prompt, at most all but its last
  /// token, whose results are still wanted.
  func reuse(for track: Track) {
    guard let engine = track.engine, let target = track.states[0].sequence else { return }
    var best: (length: Int, sequence: SequenceID)?
    for entry in entries
    where entry.engine === engine && entry.adapter === track.adapter && entry.isLong == track.isLong {
      var common = 0
      let end = min(entry.tokens.count, track.prompt.count - 1)
      while common < end, entry.tokens[common] == track.prompt[common] { common += 1 }
      if common > best?.length ?? 0 { best = (common, entry.sequence) }
    }
    guard let best else { return }
    engine.copy(best.sequence, to: target)
    engine.truncate(target, to: best.length)
    track.reusedCount = best.length
  }

  /// Gives an engine's kept pages back.
  mutating func drop(of engine: Engine) {
    for entry in entries where entry.engine === engine { engine.removeSequence(entry.sequence) }
    entries.removeAll { $0.engine === engine }
  }
}
