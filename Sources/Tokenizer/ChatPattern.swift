/// A chat template with holes for text, to compare templates of files with.
struct ChatPattern {
  /// A template that fits.
  struct Match {
    /// What stands in the holes; nil if the pattern has none.
    let hole: [UInt8]?
  }

  /// Templates longer than this are none that is known.
  static let maximumLength = 1 << 16

  /// The pattern in its plain form, cut at the holes.
  private let pieces: [ArraySlice<UInt8>]

  /// `source` is a template with `ChatStyle.hole` where text may stand.
  init(_ source: String) {
    pieces = Self.plain(Array(source.utf8)).split(
      separator: ChatStyle.hole, omittingEmptySubsequences: false)
  }

  /// Nil unless `source` is this template.
  func match(_ source: [UInt8]) -> Match? {
    guard source.count <= Self.maximumLength, !source.contains(ChatStyle.hole) else { return nil }
    var rest = Self.plain(source)[...]
    guard rest.starts(with: pieces[0]) else { return nil }
    rest = rest.dropFirst(pieces[0].count)
    var hole: [UInt8]?
    for piece in pieces.dropFirst() {
      // Text cannot contain a quote and every piece after a hole has one, so the first is the one.
      var end = rest.startIndex
      while end < rest.endIndex, !rest[end...].starts(with: piece) {
        guard Self.isText(rest[end]) else { return nil }
        end += 1
      }
      let text = Array(rest[..<end])
      guard end < rest.endIndex, hole == nil || hole == text, Self.isUTF8(text) else { return nil }
      hole = text
      rest = rest[end...].dropFirst(piece.count)
    }
    return rest.isEmpty ? Match(hole: hole) : nil
  }

  /// Whether `byte` means itself inside a Jinja string.
  private static func isText(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "{"),
      UInt8(ascii: "}"), 0x7F:
      return false
    default: return byte >= 0x20 || byte == UInt8(ascii: "\n")
    }
  }

  private static func isUTF8(_ text: [UInt8]) -> Bool {
    text.withUnsafeBytes { bytes in
      var position = 0
      while position < bytes.count {
        guard let (_, length) = decodeScalar(bytes, at: position, end: bytes.count) else {
          return false
        }
        position += length
      }
      return true
    }
  }

  /// `source` without what means nothing: white space inside `{{ }}` and `{% %}`, outside strings,
  /// goes where no word or sign needs it; in strings there `\n` becomes the newline; and the
  /// newline after a last `%}` goes, as Jinja drops it.
  private static func plain(_ source: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(source.count)
    var isInside = false
    var quote: UInt8?
    var index = 0
    while index < source.count {
      let byte = source[index]
      let next = index + 1 < source.count ? source[index + 1] : 0
      if let open = quote {
        if byte == UInt8(ascii: "\\"), next == UInt8(ascii: "n") {
          result.append(UInt8(ascii: "\n"))
          index += 2
          continue
        }
        if byte == UInt8(ascii: "\\"), index + 1 < source.count {
          result += [byte, next]
          index += 2
          continue
        }
        if byte == open { quote = nil }
      } else if isInside {
        if isSpace(byte) {
          var end = index
          while end < source.count, isSpace(source[end]) { end += 1 }
          let after = end < source.count ? source[end] : 0
          if needsSpace(result.last ?? 0, after) { result.append(UInt8(ascii: " ")) }
          index = end
          continue
        }
        if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") { quote = byte }
        if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "%"), next == UInt8(ascii: "}") {
          isInside = false
          result += [byte, next]
          index += 2
          continue
        }
      } else if byte == UInt8(ascii: "{"), next == UInt8(ascii: "{") || next == UInt8(ascii: "%") {
        isInside = true
        result += [byte, next]
        index += 2
        continue
      }
      result.append(byte)
      index += 1
    }
    if !isInside, result.suffix(3).elementsEqual("%}\n".utf8) { result.removeLast() }
    return result
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\t")
  }

  /// Whether white space between these two bytes means something: between words, or next to a sign,
  /// which may be white space control.
  private static func needsSpace(_ left: UInt8, _ right: UInt8) -> Bool {
    func isWord(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
        return true
      default: return false
      }
    }
    func isSign(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") }
    return isWord(left) && isWord(right) || isSign(left) || isSign(right)
  }
}
