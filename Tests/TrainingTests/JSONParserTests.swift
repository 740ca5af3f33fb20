import Tensor
import TestSupport
import Testing
import Training

@Suite struct JSONParserTests {
  @Test(arguments: [
    ("null", JSONValue.null), (" \t\r\n true ", .bool(true)), ("false", .bool(false)),
    ("0", .number(0)), ("-0", .number(-0.0)), ("-12.5e+2", .number(-1250)), ("1E-2", .number(0.01)),
    ("123456789012345678901234567890", .number(123_456_789_012_345_677_877_719_597_056)),
    ("0.1", .number(0.1)),
    ("2.2250738585072011e-308", .number(Double.leastNormalMagnitude.nextDown)),
    ("1e400", .number(.infinity)), ("-1e400", .number(-.infinity)), ("1e-400", .number(0)),
    ("9007199254740993", .number(0x1p53)), ("5e-324", .number(.leastNonzeroMagnitude)),
    ("\"\"", .string([])), ("[]", .array([])), ("{}", .object([])), ("[ ]", .array([])),
    ("[1,[2],{}]", .array([.number(1), .array([.number(2)]), .object([])])),
    ("{ \"\" : [ ] }", .object([JSONMember(name: [], value: .array([]))])),
  ])
  func values(text: String, value: JSONValue) throws {
    #expect(try parse(text) == value)
  }

  @Test(arguments: [
    (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""A\u00e9\u20ac""#, "Aé€"),
    (#""\ud83d\uDE00""#, "😀"), (#""\u0000x""#, "\0x"), (#""\uFFFF\uffff""#, "\u{FFFF}\u{FFFF}"),
    (#""\uDBFF\uDFFF""#, "\u{10FFFF}"), ("\"é€😀\u{7F}\u{85}\u{2028}\"", "é€😀\u{7F}\u{85}\u{2028}"),
    (#""\ud800\udc00""#, "\u{10000}"), (#""\ud7ff\ue000""#, "\u{D7FF}\u{E000}"),
  ])
  func strings(text: String, value: String) throws {
    #expect(try parse(text) == .string(Array(value.utf8)))
  }

  /// What is wrong, and the column (a byte, from 1) where.
  @Test(arguments: [
    ("", 1), ("   ", 4), ("nul", 1), ("nulll", 5), ("True", 1), ("NaN", 1), ("Infinity", 1),
    ("-Infinity", 2), ("+1", 1), ("01", 2), ("-01", 3), ("1.", 3), (".5", 1), ("1e", 3), ("1e+", 4),
    ("-", 2), ("0x10", 2), ("1_000", 2), ("1 2", 3), ("[1,]", 4), ("[,1]", 2), ("[1 2]", 4),
    ("[1", 3), ("[", 2), ("]", 1), ("{", 2), ("{\"a\"}", 5), ("{\"a\":}", 6), ("{\"a\":1,}", 8),
    ("{a:1}", 2), ("{'a':1}", 2), ("{\"a\":1 \"b\":2}", 8), ("{1:1}", 2), ("[1}", 3),
    ("{\"a\":1]", 7),
    ("\"", 1), ("\"abc", 1), ("[\"abc", 2), ("\"\\", 2), ("\"\\x\"", 3), ("\"\\u12\"", 6),
    ("\"\\u12G4\"", 6), ("\"\\ud800\"", 2), ("\"a\\udc00\"", 3), ("\"\\ud800\\u0041\"", 2),
    ("\"\\ud800\\ud800\"", 2), ("\"\\ud800x\"", 2), ("\"\\uDC00\\uD800\"", 2), ("\"a\tb\"", 3),
    ("\"a\nb\"", 3), ("\"a\0b\"", 3), ("\0", 1), ("[1]\0", 4), ("/**/1", 1), ("1//", 2),
    ("\u{FEFF}1", 1), ("'a'", 1), ("\u{A0}1", 1), ("\u{C}1", 1), ("{} {}", 4), ("\"\\u+123\"", 4),
  ])
  func errors(text: String, column: Int) {
    expectError(.corruptFile, "column \(column):") { () throws(IVGError) in try parse(text) }
  }

  /// Bytes that are no UTF-8, and where the first wrong sequence begins.
  @Test(
    arguments: [
      [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
      [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xC3, 0x28],
    ] as [[UInt8]])
  func invalidUTF8(bytes: [UInt8]) {
    expectError(.corruptFile, "column 3:", "not UTF-8") { () throws(IVGError) in
      try parse(Array("\"a".utf8) + bytes + Array("\"".utf8))
    }
    expectError(.corruptFile, "column 3:") { () throws(IVGError) in
      try parse(Array("\"a".utf8) + bytes)
    }
  }

  @Test func ofDuplicatesTheLastWins() throws {
    let value = try parse(#"{"a":1,"b":2,"a":3,"\u0061":4}"#)
    #expect(value["a"] == .number(4) && value["b"] == .number(2) && value["c"] == nil)
    #expect(try parse("[1]")["a"] == nil)
  }

  @Test func depth() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    _ = try parse(nested(64))
    _ = try parse(
      String(repeating: #"{"a":"#, count: 64) + "1" + String(repeating: "}", count: 64))
    expectError(.corruptFile, "column 65:", "deeper than 64") { () throws(IVGError) in
      try parse(nested(65))
    }
    for opening in ["[", "{\"a\":", "[{\"a\":"] {
      expectError(.corruptFile, "deeper than 64") { () throws(IVGError) in
        try parse(String(repeating: opening, count: 100_000))
      }
    }
    // Wide is not deep.
    _ = try parse("[" + String(repeating: "[],", count: 100_000) + "[]]")
  }

  @Test func manyValues() {
    let text = "[" + String(repeating: "0,", count: JSONParser.maximumValues) + "0]"
    expectError(.corruptFile, "more than 1048576 values") { () throws(IVGError) in try parse(text) }
  }

  /// Long numbers are read to their last digit, and in linear time.
  @Test func hugeNumbers() throws {
    let zeros = String(repeating: "0", count: 2_000_000)
    let time = try processorTime { () throws in
      #expect(try parse("1" + zeros) == .number(.infinity))
      #expect(try parse("0." + zeros + "1") == .number(0))
      #expect(try parse("1." + zeros + "1") == .number(1))
      #expect(try parse("1" + zeros + "e-2000000") == .number(1))
      #expect(try parse("1e99999999999999999999") == .number(.infinity))
      #expect(try parse("0e99999999999999999999") == .number(0))
    }
    // One digit far behind decides between two doubles.
    let half = "1.00000000000000011102230246251565404236316680908203125"
    #expect(try parse(half) == .number(1))
    #expect(try parse(half + zeros.prefix(5000) + "1") == .number(1.0.nextUp))
    #expect(time < 5, "\(time) s")
  }

  static let sample = #"""
    {"prompt": "a\n\u00e9\ud83d\ude00 é😀", "n": [-1.5e3, 0, true, null, {"x": {}}], "chosen": "b"}
    """#

  @Test func truncationAtEveryByte() throws {
    let bytes = Array(Self.sample.utf8)
    _ = try parse(bytes)
    for count in 0..<bytes.count {
      #expect(throws: IVGError.self) { try parse(Array(bytes[..<count])) }
    }
  }

  /// 50,000 damaged texts: each is read or refused, and what is read is read again the same.
  @Test func randomMutations() throws {
    var random = RandomNumbers(seed: 4)
    let seed = Array(Self.sample.utf8)
    let telling =
      Array(#"{}[]":,\u0eE+-.tfn"#.utf8) + [0, 0x1F, 0x7F, 0x80, 0xC3, 0xED, 0xF0, 0xFF]
    var bytes = seed
    var fine = 0
    for round in 0..<50_000 {
      if round % 6 == 0 { bytes = seed }
      guard bytes.count > 8 else { continue }
      let position = Int.random(in: 0..<bytes.count - 4, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[position] = telling.randomElement(using: &random)!
      case 2: bytes.remove(at: position)
      case 3: bytes.insert(telling.randomElement(using: &random)!, at: position)
      default: bytes.insert(contentsOf: bytes[position..<position + 4], at: position)
      }
      do throws(IVGError) {
        let value = try parse(bytes)
        #expect(try! parse(bytes) == value)
        fine += 1
      } catch {
        #expect(error.kind == .corruptFile && error.message.hasPrefix("column "))
      }
    }
    #expect(fine > 1000, "mutations that never parse test little")
  }
}
