/// Canonical composition (Unicode's normalization form C) of text in UTF-8, with the characters that the tables know.
///
/// A byte that is no UTF-8 stays as it is, and nothing composes across it. Linear in the text, but for runs of marks,
/// which are sorted. Threads: immutable, shareable.
final class CanonicalComposition: Sendable {
  /// One for all; made when first asked for.
  static let shared = CanonicalComposition()

  /// How many times as long a text can become.
  static let longestExpansion = 3

  /// All characters below this stay as they are wherever they stand; their UTF-8 has no byte from `firstLead` on.
  private static let firstLead: UInt8 = 0xCC

  /// What is known of a character: the combining class in the low eight bits, and the flags below. Zero: it stays as
  /// it is, and so does what is before it.
  private typealias Properties = UInt16

  /// It may become one with a character before it.
  private static let joins: Properties = 0x100
  /// It always becomes something else.
  private static let changes: Properties = 0x200

  /// Where in `blocks` the properties of each 256 characters begin.
  private let pages: [UInt16]
  private let blocks: [Properties]
  private let decompositions: [UInt32: (first: UInt32, second: UInt32)]
  /// By first << 32 | second.
  private let compositions: [UInt64: UInt32]

  private init() {
    var decompositions: [UInt32: (first: UInt32, second: UInt32)] = [:]
    var compositions: [UInt64: UInt32] = [:]
    var properties: [UInt32: Properties] = [:]
    let classes = CanonicalTables.classes
    for row in stride(from: 0, to: classes.count, by: 3) {
      for code in classes[row]...classes[row + 1] { properties[code] = Properties(classes[row + 2]) }
    }
    let table = CanonicalTables.decompositions
    for row in stride(from: 0, to: table.count, by: 3) {
      let code = table[row] & 0x7FFF_FFFF
      let (first, second) = (table[row + 1], table[row + 2])
      decompositions[code] = (first, second)
      if table[row] == code {
        compositions[UInt64(first) << 32 | UInt64(second)] = code
        properties[second, default: 0] |= Self.joins
      } else {
        properties[code, default: 0] |= Self.changes
      }
    }
    for code in Hangul.vowels { properties[code] = Self.joins }
    for code in Hangul.tails { properties[code] = Self.joins }
    self.decompositions = decompositions
    self.compositions = compositions

    // The first block is that of all pages in which nothing is known.
    var pages = [UInt16](repeating: 0, count: 0x1100)
    var blocks = [Properties](repeating: 0, count: 256)
    for (code, value) in properties {
      let page = Int(code >> 8)
      if pages[page] == 0 {
        pages[page] = UInt16(blocks.count >> 8)
        blocks += [Properties](repeating: 0, count: 256)
      }
      blocks[Int(pages[page]) << 8 | Int(code & 0xFF)] = value
    }
    self.pages = pages
    self.blocks = blocks
  }

  @inline(__always)
  private func properties(_ code: UInt32) -> Properties {
    blocks[Int(pages[Int(code >> 8)]) << 8 | Int(code & 0xFF)]
  }

  /// Calls `body` with the composed text, which is `text` itself where nothing changes. Borrowed for the call.
  func composed(_ text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
    guard var stretch = nextStretch(in: text, from: 0) else { return body(text) }
    var output: [UInt8] = []
    output.reserveCapacity(text.count + text.count / 8)
    var work = Stretch()
    var copied = 0
    while true {
      output.append(contentsOf: text[copied..<stretch.lowerBound])
      compose(text, stretch, &work, into: &output)
      copied = stretch.upperBound
      guard let next = nextStretch(in: text, from: copied) else { break }
      stretch = next
    }
    output.append(contentsOf: text[copied...])
    output.withUnsafeBytes(body)
  }

  /// The next stretch, from `start` on, that may change: from a character that stays as it is (if there is one) up to
  /// before the next one. Nil if the rest is composed already. Before `start` is nothing that joins.
  private func nextStretch(in text: UnsafeRawBufferPointer, from start: Int) -> Range<Int>? {
    var position = start
    var begin = start
    var lastClass: Properties = 0
    while position < text.count {
      let byte = text[position]
      if byte < Self.firstLead {
        if byte & 0xC0 != 0x80 { begin = position }
        lastClass = 0
        position += 1
        while position + 8 <= text.count,
          text.loadUnaligned(fromByteOffset: position, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
        {
          position += 8
          begin = position - 1
        }
        continue
      }
      guard let (scalar, length) = decodeScalar(text, at: position, end: text.count) else {
        position += 1
        begin = position
        lastClass = 0
        continue
      }
      let found = properties(scalar.value)
      if found == 0 {
        begin = position
        lastClass = 0
      } else {
        let combiningClass = found & 0xFF
        if found > 0xFF || combiningClass != 0 && combiningClass < lastClass {
          return begin..<endOfStretch(in: text, from: position + length)
        }
        lastClass = combiningClass
      }
      position += length
    }
    return nil
  }

  /// Where the first character from `start` on begins that stays as it is, or a byte that is no UTF-8.
  private func endOfStretch(in text: UnsafeRawBufferPointer, from start: Int) -> Int {
    var position = start
    while position < text.count, text[position] >= Self.firstLead,
      let (scalar, length) = decodeScalar(text, at: position, end: text.count),
      properties(scalar.value) != 0
    {
      position += length
    }
    return position
  }

  /// What a stretch needs for its while; kept for the next one.
  private struct Stretch {
    /// Characters in canonical order, with class << 56 | place << 21 so that they sort.
    var keys: [UInt64] = []
    var composed: [UInt32] = []
  }

  /// Appends `range` of `text` composed. All of it is UTF-8 but for what may stand at its beginning.
  private func compose(
    _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ work: inout Stretch,
    into output: inout [UInt8]
  ) {
    work.keys.removeAll(keepingCapacity: true)
    var position = range.lowerBound
    while position < range.upperBound {
      guard let (scalar, length) = decodeScalar(text, at: position, end: range.upperBound) else {
        flush(&work, into: &output)
        output.append(text[position])
        position += 1
        continue
      }
      decompose(scalar.value, into: &work.keys)
      position += length
    }
    flush(&work, into: &output)
  }

  /// Appends what `code` stands for, down to characters that stand for themselves.
  private func decompose(_ code: UInt32, into keys: inout [UInt64]) {
    if let (lead, vowel, tail) = Hangul.parts(of: code) {
      for part in [lead, vowel, tail] where part != 0 { append(part, to: &keys) }
    } else if let (first, second) = decompositions[code] {
      decompose(first, into: &keys)
      if second != 0 { decompose(second, into: &keys) }
    } else {
      append(code, to: &keys)
    }
  }

  private func append(_ code: UInt32, to keys: inout [UInt64]) {
    keys.append(UInt64(properties(code) & 0xFF) << 56 | UInt64(keys.count) << 21 | UInt64(code))
  }

  /// Orders the characters, composes them and writes them.
  private func flush(_ work: inout Stretch, into output: inout [UInt8]) {
    order(&work.keys)
    work.composed.removeAll(keepingCapacity: true)
    var starter: Int?
    var lastClass: UInt64 = 0
    for key in work.keys {
      let code = UInt32(key & 0x1F_FFFF)
      let combiningClass = key >> 56
      // Between the two may stand only marks of lower classes.
      if let place = starter, place == work.composed.count - 1 || lastClass < combiningClass,
        let both = composition(work.composed[place], code)
      {
        work.composed[place] = both
        continue
      }
      if combiningClass == 0 { starter = work.composed.count }
      lastClass = combiningClass
      work.composed.append(code)
    }
    for code in work.composed {
      guard let scalar = Unicode.Scalar(code) else { continue }
      output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }
    work.keys.removeAll(keepingCapacity: true)
  }

  /// Sorts every run of marks by class; of the same class they stay in order.
  private func order(_ keys: inout [UInt64]) {
    var start = 0
    while start < keys.count {
      var end = start
      var isOrdered = true
      while end < keys.count, keys[end] >> 56 != 0 {
        if end > start, keys[end] < keys[end - 1] { isOrdered = false }
        end += 1
      }
      if !isOrdered { keys[start..<end].sort() }
      start = end + 1
    }
  }

  private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    Hangul.syllable(first, second) ?? compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
