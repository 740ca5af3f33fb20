import GGUF
import Tensor

/// Byte-level byte-pair encoding (`tokenizer.ggml.model` = `gpt2`).
///
/// A word starts as its bytes; the neighbouring pair that comes earliest in the file's list of
/// merges, the leftmost of equals, becomes one token, until no pair merges. A byte for which the
/// vocabulary has no token is dropped from the result, and nothing merges across it.
struct BytePairModel: TokenizerModel {
  /// Words of up to this many bytes merge in place; longer ones use a heap.
  static let shortWord = 64

  /// Cuts text into words.
  private let preTokenizer: PreTokenizer

  /// Words that are tokens, for pre-tokenizers that ignore merges.
  private let index: TokenIndex

  /// The merges.
  let merges: MergeTable

  /// Token of each byte, -1 where the vocabulary has none.
  private let byteTokens: FlatBuffer<Int32>

  /// Reads the merges of `file`. Throws `.corruptFile` naming the field; `.outOfMemory`.
  init(
    file: GGUFFile, vocabulary: Vocabulary, preTokenizer: PreTokenizer, alphabet: ByteAlphabet
  ) throws(IVGError) {
    self.preTokenizer = preTokenizer
    index = try TokenIndex(vocabulary: vocabulary)
    merges = try MergeTable(
      file: file, vocabulary: vocabulary, index: index, alphabet: alphabet)
    byteTokens = try FlatBuffer(count: 256, purpose: "the tokens of single bytes")
    for byte in 0..<256 {
      byteTokens[byte] =
        withUnsafeBytes(of: UInt8(byte)) { bytes in index.token(bytes) } ?? -1
    }
  }

  /// Byte-level vocabularies have words with a space in front and words without.
  var spacePrefix: SpacePrefix { .none }

  func encode(
    _ text: UnsafeRawBufferPointer, isBeginning: Bool, into output: inout [Int32]
  ) {
    guard !text.isEmpty else { return }
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: Self.shortWord) { ids in
      withUnsafeTemporaryAllocation(of: MergeTable.Merge.self, capacity: Self.shortWord) { pairs in
        preTokenizer.split(text) { word in
          let bytes = UnsafeRawBufferPointer(rebasing: text[word])
          if bytes.count == 1 {
            append(byteTokens[Int(bytes[0])], to: &output)
          } else if preTokenizer.ignoresMerges, let token = index.token(bytes) {
            output.append(token)
          } else if bytes.count <= Self.shortWord {
            mergeShort(bytes, ids: ids, pairs: pairs, into: &output)
          } else {
            mergeLong(bytes, into: &output)
          }
        }
      }
    }
  }

  /// Every pre-tokenizer cuts between a letter and the white space behind it, whatever is around
  /// them, and decides about what is before without having looked further.
  func isSeam(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool {
    position > 0 && ScalarKind(ascii: text[position - 1]) == .letter && text[position] < 0x80
      && ScalarKind(ascii: text[position]) == .space
  }

  /// Appends `token` unless it stands for a byte that has none.
  @inline(__always)
  func append(_ token: Int32, to output: inout [Int32]) {
    if token >= 0 { output.append(token) }
  }

  /// The tokens of the single bytes, -1 where there is none.
  @inline(__always)
  func token(ofByte byte: UInt8) -> Int32 { byteTokens[Int(byte)] }

  /// Merges a word of at most `shortWord` bytes: always looks for the best pair among all, which
  /// for few pairs is faster than keeping them sorted.
  private func mergeShort(
    _ bytes: UnsafeRawBufferPointer, ids: UnsafeMutableBufferPointer<Int32>,
    pairs: UnsafeMutableBufferPointer<MergeTable.Merge>, into output: inout [Int32]
  ) {
    var count = bytes.count
    for position in 0..<count { ids[position] = token(ofByte: bytes[position]) }
    for position in 0..<(count - 1) {
      pairs[position] = merges.merge(ids[position], ids[position + 1])
    }
    while count > 1 {
      var best = 0
      for position in 1..<(count - 1) where pairs[position].rank < pairs[best].rank {
        best = position
      }
      guard pairs[best].rank != MergeTable.never else { break }
      ids[best] = pairs[best].merged
      count -= 1
      for position in (best + 1)..<max(count, best + 1) {
        ids[position] = ids[position + 1]
        pairs[position - 1] = pairs[position]
      }
      if best > 0 { pairs[best - 1] = merges.merge(ids[best - 1], ids[best]) }
      if best + 1 < count { pairs[best] = merges.merge(ids[best], ids[best + 1]) }
    }
    for position in 0..<count { append(ids[position], to: &output) }
  }
}
