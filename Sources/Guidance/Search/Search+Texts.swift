import Tensor
import Transformer

/// Scoring texts that came from elsewhere: they take the place of drawn rows.
extension Search {
  /// S of each text, in order; at most as many as the request has rows.
  func score(texts: [UnsafeRawBufferPointer], ended: Bool) throws(IVGError) -> [Double] {
    for (slot, text) in texts.enumerated() {
      rows[slot].state = .live
      rows[slot].take(text)
      if ended { rows[slot].finish(.end) }
    }
    try shareScoringPrompts()
    try score()
    return texts.indices.map { rows[$0].score }
  }
}
