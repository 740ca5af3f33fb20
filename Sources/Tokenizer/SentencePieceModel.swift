import GGUF
import Tensor

/// SentencePiece's byte-pair encoding (`tokenizer.ggml.model` = `llama`).
///
/// Text starts as its characters; the neighbouring two that together are the token of the highest
/// score, the leftmost of equals, become one, until no two are a token. A character that is no
/// token becomes the tokens of its bytes; a byte without one is dropped from the result. Without tokens for bytes,
/// a run of such characters becomes the unknown token, as in SentencePiece.
///
/// Spaces are spaces here and in `Vocabulary`, and `▁` in the file; a `▁` in text is a space too.
struct SentencePieceModel: TokenizerModel {
  /// Stretches of up to this many characters merge in place; longer ones use a heap.
  static let shortStretch = 32

  /// Longer tokens never come out of plain text; it bounds the work per byte.
  static let longestToken = 1024

  /// Tokens by their bytes.
  private let index: TokenIndex

  /// What merges first: smaller for higher scores; one entry per token.
  private let ranks: FlatBuffer<UInt32>

  /// Token of each byte, -1 where the vocabulary has none.
  private let byteTokens: FlatBuffer<Int32>

  /// What characters become that are no tokens, in a vocabulary without tokens for bytes.
  private let unknown: Int32?

  /// Where nothing merges.
  private let pairs: CharacterPairs

  /// Where text gets a space in front.
  let spacePrefix: SpacePrefix

  /// Reads the scores of `file`. Throws `.corruptFile` naming the field; `.outOfMemory`.
  init(file: GGUFFile, vocabulary: Vocabulary) throws(IVGError) {
    spacePrefix = try SpacePrefix(file: file)
    index = try TokenIndex(vocabulary: vocabulary)
    pairs = try CharacterPairs(vocabulary: vocabulary)
    ranks = try Self.ranks(of: file, count: vocabulary.count)
    byteTokens = try FlatBuffer(count: 256, purpose: "the tokens of single bytes")
    for byte in 0..<256 { byteTokens[byte] = Self.spelledByte(UInt8(byte), index) }
    for id in (0..<vocabulary.count).reversed() where vocabulary.kind(of: id) == .byte {
      byteTokens[Int(vocabulary.bytes(of: id)[0])] = Int32(truncatingIfNeeded: id)
    }
    let named = try Tokenizer.token(of: file, "unknown", count: vocabulary.count)
    let hasBytes = (0x80..<0x100).contains { [byteTokens] in byteTokens[$0] >= 0 }
    unknown =
      hasBytes
      ? nil
      : named
        ?? (0..<vocabulary.count).first { vocabulary.kind(of: $0) == .unknown }.map { Int32($0) }
  }

  func encode(
    _ text: UnsafeRawBufferPointer, isBeginning: Bool, into output: inout [Int32]
  ) {
    guard !text.isEmpty else { return }
    if let unknown, output.last == unknown {
      // One that was written out; what follows is not part of its run.
      var own: [Int32] = []
      encode(text, isBeginning: isBeginning, into: &own)
      return output += own
    }
    let space = isBeginning && spacePrefix.applies(to: text) ? 1 : 0
    if space == 0 && !text.contains(TokenSpelling.spaceMark[0]) {
      return encodeUnmarked(text, into: &output)
    }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: text.count + space) { buffer in
      guard let base = buffer.baseAddress else { return }
      base[0] = UInt8(ascii: " ")
      let count = TokenSpelling.unmark(text, to: base + space) + space
      encodeUnmarked(UnsafeRawBufferPointer(start: base, count: count), into: &output)
    }
  }

  /// Cuts text without marks where no token can reach across, and merges what is between.
  private func encodeUnmarked(_ text: UnsafeRawBufferPointer, into output: inout [Int32]) {
    var start = 0
    var characters = 1
    var (left, position) = CharacterPairs.character(in: text, at: 0)
    while position < text.count {
      let (right, length) = CharacterPairs.character(in: text, at: position)
      if !pairs.contains(left, right) {
        encodeStretch(text, start..<position, characters, into: &output)
        start = position
        characters = 0
      }
      left = right
      characters += 1
      position += length
    }
    encodeStretch(text, start..<text.count, characters, into: &output)
  }

  private func encodeStretch(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ characters: Int,
    into output: inout [Int32]
  ) {
    let stretch = UnsafeRawBufferPointer(rebasing: text[range])
    if characters == 1 {
      append(stretch, to: &output)
    } else if characters <= Self.shortStretch {
      mergeShort(stretch, characters, into: &output)
    } else {
      mergeLong(stretch, characters, into: &output)
    }
  }

  /// Appends what a stretch that merges no further becomes.
  func append(_ bytes: UnsafeRawBufferPointer, to output: inout [Int32]) {
    if let token = index.token(bytes) {
      output.append(token)
    } else if let unknown {
      if output.last != unknown { output.append(unknown) }
    } else if bytes.count == 1, bytes[0] == UInt8(ascii: " ") {
      for byte in TokenSpelling.spaceMark { appendByte(byte, to: &output) }
    } else {
      for byte in bytes { appendByte(byte, to: &output) }
    }
  }

  private func appendByte(_ byte: UInt8, to output: inout [Int32]) {
    let token = byteTokens[Int(byte)]
    if token >= 0 { output.append(token) }
  }

  /// How early two neighbours that together are `bytes` merge; `MergeTable.never` if they do not.
  @inline(__always)
  func rank(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    guard bytes.count <= Self.longestToken, let token = index.token(bytes) else {
      return MergeTable.never
    }
    return ranks[Int(token)]
  }

  func isSeam(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool {
    guard let left = decodeScalar(text, endingAt: position)?.scalar.value,
      let right = decodeScalar(text, at: position, end: text.count)?.scalar.value
    else { return false }
    if unknown != nil, !isToken(left), !isToken(right) { return false }
    return !pairs.contains(Self.unmarked(left), Self.unmarked(right))
  }

  /// Whether the character is a token by itself; if not, it may be part of a run of unknown ones.
  private func isToken(_ code: UInt32) -> Bool {
    guard let scalar = Unicode.Scalar(Self.unmarked(code)), let bytes = UTF8.encode(scalar) else {
      return false
    }
    return Array(bytes).withUnsafeBytes { index.token($0) != nil }
  }

  private static func unmarked(_ scalar: UInt32) -> UInt32 { scalar == 0x2581 ? 0x20 : scalar }
}
