import GGUF
import Tensor

/// The merges of a byte-pair vocabulary: which two neighbouring tokens become which token, and how
/// early.
///
/// A flat open-addressing table of 16-byte slots; a look-up that finds nothing usually touches one
/// cache line. Threads: immutable after `init`, shareable.
struct MergeTable: Sendable {
  /// One slot: the pair, and what becomes of it.
  private struct Slot: BitwiseCopyable {
    /// `(left id + 1) << 32 | right id`; zero for a free slot.
    var pair: UInt64
    /// Position in the file's list; smaller merges first.
    var rank: UInt32
    /// The id of the two together.
    var merged: Int32
  }

  /// What a pair becomes.
  struct Merge {
    /// Smaller merges first; `MergeTable.never` when the pair does not merge.
    var rank: UInt32
    /// The id of the two together.
    var merged: Int32
  }

  /// The rank of a pair that does not merge.
  static let never = UInt32.max

  /// The table.
  private let slots: FlatBuffer<Slot>

  /// Number of slots minus one; a power of two minus one.
  private let mask: Int

  /// Reads `tokenizer.ggml.merges`.
  ///
  /// A merge that names a token the vocabulary does not have is ignored, and so is a pair's second
  /// entry. Throws `.corruptFile` naming the field and the entry when the list is missing, is not
  /// one of strings, or an entry is not two pieces with a space between; `.outOfMemory`. Nothing of
  /// `file` is kept.
  init(
    file: GGUFFile, vocabulary: Vocabulary, index: TokenIndex, alphabet: ByteAlphabet
  ) throws(IVGError) {
    let key = "tokenizer.ggml.merges"
    guard let merges = try file.metadata.array(key) else {
      throw IVGError(.corruptFile, "\(file.path): \(key) is missing")
    }
    let limit = Vocabulary.maximumCount * 4
    guard merges.count <= limit else {
      throw IVGError(
        .corruptFile, "\(file.path): \(key) has \(merges.count) entries; at most \(limit) can be")
    }
    var capacity = 16
    while capacity < merges.count + merges.count / 2 { capacity *= 2 }
    mask = capacity - 1
    slots = try FlatBuffer(count: capacity, purpose: "the merges of the vocabulary")

    var scratch = try FlatBuffer<UInt8>(count: 256, purpose: "a merge")
    var guess = 0
    for rank in 0..<merges.count {
      guard let text = merges.string(at: rank), let space = Self.separator(in: text) else {
        throw IVGError(
          .corruptFile,
          "\(file.path): \(key): entry \(rank) is not two pieces with a space between")
      }
      if text.count > scratch.count {
        scratch = try FlatBuffer(count: text.count, purpose: "a merge")
      }
      let head = UnsafeRawBufferPointer(rebasing: text[..<space])
      let tail = UnsafeRawBufferPointer(rebasing: text[(space + 1)...])
      guard let leftCount = alphabet.decode(head, to: scratch.base),
        let rightCount = alphabet.decode(tail, to: scratch.base + leftCount)
      else { continue }
      let both = UnsafeRawBufferPointer(start: scratch.base, count: leftCount + rightCount)
      // Vocabularies list their tokens in the order of the merges, so the next id is the likely
      // result.
      var merged = index.likelyToken(both, guess: guess)
      if merged == nil { merged = index.token(both) }
      guard let merged,
        let left = index.token(UnsafeRawBufferPointer(rebasing: both[..<leftCount])),
        let right = index.token(UnsafeRawBufferPointer(rebasing: both[leftCount...]))
      else { continue }
      guess = Int(merged) + 1
      insert(left: left, right: right, rank: UInt32(rank), merged: merged)
    }
  }

  /// What `left` followed by `right` becomes; rank `never` when nothing.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> Merge {
    let pair = Self.pair(left, right)
    var slot = slotIndex(of: pair)
    while true {
      let entry = slots[slot]
      // Free slots first: the key of (-1, 0) is zero too.
      if entry.pair == 0 { return Merge(rank: Self.never, merged: -1) }
      if entry.pair == pair { return Merge(rank: entry.rank, merged: entry.merged) }
      slot = (slot &+ 1) & mask
    }
  }

  /// Adds a merge unless the pair has one.
  private func insert(left: Int32, right: Int32, rank: UInt32, merged: Int32) {
    let pair = Self.pair(left, right)
    var slot = slotIndex(of: pair)
    while slots[slot].pair != 0 {
      if slots[slot].pair == pair { return }
      slot = (slot + 1) & mask
    }
    slots[slot] = Slot(pair: pair, rank: rank, merged: merged)
  }

  /// The key of a pair, not zero for two ids. A negative id (a byte without a token) gives a key
  /// that no merge has.
  @inline(__always)
  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left) &+ 1) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Where to begin looking for `pair`.
  @inline(__always)
  private func slotIndex(of pair: UInt64) -> Int {
    let product = pair.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return Int(truncatingIfNeeded: product.low >> 32 ^ product.high) & mask
  }

  /// Position of the space between the two pieces: the first one that is not at the very beginning.
  @inline(__always)
  private static func separator(in text: UnsafeRawBufferPointer) -> Int? {
    var position = 1
    while position < text.count {
      if text[position] == 0x20 { return position }
      position += 1
    }
    return nil
  }
}
