import Tokenizer

/// Tokens that one side draws in a row, with their text.
struct Burst {
  private(set) var tokens: [Int32] = []
  private(set) var logProbabilities: [Float] = []
  private(set) var bytes: [UInt8] = []
  /// Bytes before each token.
  private(set) var starts: [Int] = []
  private var assembler = UTF8Assembler()

  var count: Int { tokens.count }

  /// Bytes that do not end within a character; the others are held back, until the burst goes on.
  private(set) var wholeLength = 0
  var whole: ArraySlice<UInt8> { bytes[..<wholeLength] }
  var isWhole: Bool { wholeLength == bytes.count }

  mutating func append(_ prediction: Prediction, text: UnsafeRawBufferPointer) {
    starts.append(bytes.count)
    tokens.append(prediction.token)
    logProbabilities.append(Float(prediction.logProbability))
    append(text)
  }

  private mutating func append(_ text: some Sequence<UInt8>) {
    var ignored: [UInt8] = []
    for byte in text {
      bytes.append(byte)
      assembler.append(CollectionOfOne(byte), to: &ignored)
      if assembler.heldCount == 0 { wholeLength = bytes.count }
    }
  }

  /// The first `count` tokens.
  func prefix(_ count: Int) -> Burst {
    guard count < self.count else { return self }
    var part = Burst()
    let end = starts[count]
    part.tokens = Array(tokens[..<count])
    part.logProbabilities = Array(logProbabilities[..<count])
    part.starts = Array(starts[..<count])
    part.append(bytes[..<end])
    return part
  }
}
