import Tokenizer

/// Where a draft's words begin: at each of its spaces behind those it begins with; and, since text of
/// scripts without spaces has no other words, around each character of such a script (**ours**). Never
/// where an incomplete character stands before, which what the other side writes might complete.
struct Words {
  /// Where every word but the first begins, ascending; an empty word (behind one space, before another or
  /// the end) has its place too.
  private(set) var breaks: [Int] = []
  private let bytes: [UInt8]

  private static let space = UInt8(ascii: " ")

  /// `keepsLeading`: the spaces that the text begins with end words too.
  init(_ bytes: [UInt8], keepsLeading: Bool = false) {
    self.bytes = bytes
    var position = 0
    if !keepsLeading {
      while position < bytes.count, bytes[position] == Self.space { position += 1 }
    }
    let first = position
    var isBehindUnspaced = false
    var assembler = UTF8Assembler()
    var ignored: [UInt8] = []
    bytes.withUnsafeBytes { text in
      while position < bytes.count {
        let isWhole = assembler.heldCount == 0
        if text[position] == Self.space {
          if isWhole { breaks.append(position) }
          isBehindUnspaced = false
          assembler.append(CollectionOfOne(Self.space), to: &ignored)
          position += 1
          continue
        }
        let found = decodeScalar(text, at: position, end: text.count)
        let isUnspaced = found.map { Self.isUnspaced($0.scalar) } ?? false
        if position > first, text[position - 1] != Self.space, isWhole,
          isUnspaced || isBehindUnspaced
        {
          breaks.append(position)
        }
        isBehindUnspaced = isUnspaced
        let end = position + (found?.length ?? 1)
        assembler.append(text[position..<end], to: &ignored)
        position = end
      }
    }
  }

  /// How many there are, counted as by cutting at spaces.
  var count: Int { breaks.count + 1 }

  /// The words that are not empty: where each begins, and the text from there to the next space.
  var places: [(position: Int, text: ArraySlice<UInt8>)] {
    breaks.compactMap { position in
      let end = bytes[(position + 1)...].firstIndex(of: Self.space) ?? bytes.count
      let isEmpty = bytes[position] == Self.space && end == position + 1
      return isEmpty ? nil : (position, bytes[position..<end])
    }
  }

  /// Han, kana, Thai, Lao, Tibetan, Burmese, Khmer, Yi, and the punctuation and wide forms used with them.
  private static func isUnspaced(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x0E00...0x0FFF, 0x1000...0x109F, 0x1780...0x17FF, 0x19E0...0x19FF, 0x2E80...0x312F,
      0x3190...0xA4CF, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFFEF, 0x1B000...0x1B16F,
      0x20000...0x3FFFF:
      true
    default: false
    }
  }
}
