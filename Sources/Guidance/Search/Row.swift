import Tokenizer

/// Why a row took no further token.
package enum FinishReason: UInt32, Sendable {
  case none = 0
  case end = 1
  case stop = 2
  case length = 3
  /// The nudger repeated itself.
  case repetition = 4
  /// Nudging had as many rounds as it may.
  case rounds = 5
}

/// One candidate answer: its tokens and text so far. Buffers are taken once; copying a row allocates
/// nothing that lasts.
final class Row {
  enum State { case empty, live, finished }

  var state = State.empty
  var finish = FinishReason.none
  let tokens: UnsafeMutablePointer<Int32>  // [capacity]
  let logProbabilities: UnsafeMutablePointer<Float>  // [capacity]
  private(set) var count = 0
  private let capacity: Int
  /// The bytes of its tokens, control tokens left out; never beyond the end of a stop string.
  private(set) var bytes: [UInt8] = []
  /// Bytes before the stop string, if there is one.
  private(set) var shownLength = 0
  private var matcher: StopMatcher
  var score = 0.0
  /// The tokens for which `score` was computed; −1: none.
  var scoredCount = -1

  init(capacity: Int, matcher: StopMatcher) {
    self.capacity = capacity
    self.matcher = matcher
    tokens = .allocate(capacity: capacity)
    logProbabilities = .allocate(capacity: capacity)
    bytes.reserveCapacity(min(capacity * 8, 1 << 16))
  }

  deinit {
    tokens.deallocate()
    logProbabilities.deallocate()
  }

  /// Bytes that one row takes, about.
  static func bytes(capacity: Int) -> Int { capacity * 16 + 256 }

  var isScored: Bool { scoredCount == count }

  /// The text as it stands, without a stop string.
  var visible: ArraySlice<UInt8> { bytes[..<shownLength] }

  /// The text that will not change any more while the row goes on.
  var safeLength: Int { state == .finished ? shownLength : matcher.progress.safe }

  /// Takes a token with its text; finds out whether a stop string is complete.
  func append(_ token: Int32, logProbability: Float, text: UnsafeRawBufferPointer) {
    precondition(count < capacity, "a row beyond its maximum of tokens")
    tokens[count] = token
    logProbabilities[count] = logProbability
    count += 1
    take(text)
  }

  /// Takes text without tokens, for scoring texts that came from elsewhere.
  func take(_ text: UnsafeRawBufferPointer) {
    for byte in text {
      bytes.append(byte)
      if matcher.feed(CollectionOfOne(byte)).stop != nil { break }
    }
    shownLength = matcher.progress.stop ?? bytes.count
    if matcher.progress.stop != nil { finish(.stop) }
  }

  func finish(_ reason: FinishReason) {
    state = .finished
    finish = reason
  }

  func clear() {
    state = .empty
    finish = .none
    count = 0
    shownLength = 0
    score = 0
    scoredCount = -1
    bytes.removeAll(keepingCapacity: true)
    matcher.reset()
  }

  func copy(from other: Row) {
    guard other !== self else { return }
    state = other.state
    finish = other.finish
    tokens.update(from: other.tokens, count: other.count)
    logProbabilities.update(from: other.logProbabilities, count: other.count)
    count = other.count
    bytes.removeAll(keepingCapacity: true)
    bytes.append(contentsOf: other.bytes)
    shownLength = other.shownLength
    matcher = other.matcher
    score = other.score
    scoredCount = other.scoredCount
  }
}
