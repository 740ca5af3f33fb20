import GGUF
import Glibc
import Tensor
import Testing
import Tokenizer

/// Where the tests find their material, and small helpers around it.
enum TestFiles {
  /// The package's root directory.
  static let root: String = {
    var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(3)
    return parts.joined(separator: "/")
  }()

  /// Material shared between projects, beside the package; may be missing.
  static let shared = root + "/../shared"

  /// Whether `path` can be read.
  static func exists(_ path: String) -> Bool { access(path, R_OK) == 0 }

  /// All bytes of the file at `path`.
  static func read(_ path: String) throws -> [UInt8] {
    let file = try #require(fopen(path, "rb"), "cannot open \(path)")
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  /// The golden vocabulary called `name`, or nil, said on the console, when there is none.
  static func goldenVocabulary(_ name: String) throws -> Tokenizer? {
    let path = "\(shared)/golden/tokenizers/ggml-vocab-\(name).gguf"
    guard exists(path) else {
      print("skipped: there is no \(path)")
      return nil
    }
    return try Tokenizer(file: GGUFFile(path: path))
  }

  /// The path of a real SmolLM2 file: environment variable IVG_TEST_MODEL, else in .build/models;
  /// nil, said on the console, when there is none.
  static func smolLM2() -> String? {
    let path =
      getenv("IVG_TEST_MODEL").map { String(cString: $0) }
      ?? root + "/.build/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    guard exists(path) else {
      print("skipped: there is no \(path)")
      return nil
    }
    return path
  }

  /// The path of a real Gemma 3 file, whose vocabulary is SentencePiece's; nil, said on the
  /// console, when there is none.
  static func gemma() -> String? {
    let folder = getenv("IVG_TEST_MODELS").map { String(cString: $0) } ?? root + "/.build/models"
    let path = folder + "/gemma-3-270m-q4_k_m.gguf"
    guard exists(path) else {
      print("skipped: there is no \(path)")
      return nil
    }
    return path
  }
}

extension Tokenizer {
  /// `encode` on an array, without a begin token.
  func encode(_ text: [UInt8], parseSpecial: Bool = false) throws -> [Int32] {
    try text.withUnsafeBytes { bytes throws(IVGError) in
      try encode(bytes, parseSpecial: parseSpecial, addBegin: false)
    }
  }

  /// `encode` on a string, without a begin token.
  func encode(_ text: String, parseSpecial: Bool = false) throws -> [Int32] {
    try encode(Array(text.utf8), parseSpecial: parseSpecial)
  }

  /// The text of each token of `text`, for readable expectations.
  func pieces(_ text: String, parseSpecial: Bool = false) throws -> [String] {
    try encode(text, parseSpecial: parseSpecial).map {
      String(decoding: bytes(of: $0), as: UTF8.self)
    }
  }
}

/// A small generator with a fixed sequence for each seed.
struct TestRandom: RandomNumberGenerator {
  /// The state.
  private var state: UInt64

  /// The sequence of `seed`.
  init(seed: UInt64) { state = seed }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}
