import Transformer

/// Sequences that earlier requests computed, for later ones that begin with the same tokens.
package struct PrefixCache {
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

  /// Keeps a sequence that begins with `tokens`, which must not be empty.
  mutating func keep(
    _ tokens: [Int32], of source: SequenceID, on engine: Engine, _ adapter: Adapter?
  ) {
    let isLong = engine.isLong(source)
    if let known = entries.firstIndex(where: {
      $0.engine === engine && $0.adapter === adapter && $0.isLong == isLong
        && tokens.starts(with: $0.tokens)
    }) {
      engine.removeSequence(entries.remove(at: known).sequence)
    }
    let sequence = engine.makeSequence(adapter: adapter)
    engine.copy(source, to: sequence)
    engine.truncate(sequence, to: tokens.count)
    entries.append(
      Entry(engine: engine, adapter: adapter, isLong: isLong, tokens: tokens, sequence: sequence))
    if entries.count > Self.limit {
      let oldest = entries.removeFirst()
      oldest.engine.removeSequence(oldest.sequence)
    }
  }

  /// Gives `target` the longest known part of `prompt`, at most all but its last token, whose results
  /// are still wanted. Returns how many tokens that are; 0 leaves `target` alone.
  func reuse(for prompt: [Int32], in target: SequenceID, on engine: Engine, _ adapter: Adapter?)
    -> Int
  {
    var best: (length: Int, sequence: SequenceID)?
    let isLong = engine.isLong(target)
    for entry in entries
    where entry.engine === engine && entry.adapter === adapter && entry.isLong == isLong {
      var common = 0
      let end = min(entry.tokens.count, prompt.count - 1)
      while common < end, entry.tokens[common] == prompt[common] { common += 1 }
      if common > best?.length ?? 0 { best = (common, entry.sequence) }
    }
    guard let best else { return 0 }
    engine.copy(best.sequence, to: target)
    engine.truncate(target, to: best.length)
    return best.length
  }

  /// Gives an engine's kept pages back.
  mutating func drop(of engine: Engine) {
    for entry in entries where entry.engine === engine { engine.removeSequence(entry.sequence) }
    entries.removeAll { $0.engine === engine }
  }
}
