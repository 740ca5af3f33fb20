import Glibc
import Guidance
import Tensor
import TestSupport
import Tokenizer
import Transformer

/// One side of nudging as a completion service has it: every call gets the whole text, cuts it into tokens
/// anew, and evaluates every token's context from its beginning. Nothing is kept but the answers.
final class SlowSide {
  /// What a call gives: the tokens' texts and the probability of each, and whether an end token followed.
  struct Completion {
    var texts: [[UInt8]] = []
    var probabilities: [Double] = []
    var hasEnded = false

    var text: [UInt8] { texts.flatMap { $0 } }
  }

  let model: LanguageModel
  let adapter: Adapter?
  let prompt: [Int32]
  private let engine: Engine
  private let endTokens: Set<Int32>
  private let banned: Set<Int32>
  private var known: [[Int32]: (token: Int32, probability: Double)] = [:]

  init(_ guide: Guide, prompt text: [UInt8], endTokens: [Int32] = [], banned: [Int32] = []) throws {
    model = guide.model!
    adapter = guide.adapter
    let tokenizer = model.tokenizer
    let tokens = try tokenizer.encode(
      PromptTemplate.fill(guide.template, prompt: text), parseSpecial: true,
      addBegin: tokenizer.addsBeginToken)
    prompt = tokens.isEmpty ? [tokenizer.beginToken ?? tokenizer.endToken!] : tokens
    engine = try Engine(
      trunk: model.trunk(for: "a test"), team: ThreadTeam(threadCount: 1), contextLength: 512,
      pageLimit: 64)
    try engine.reserve(logitRows: 1, results: 0)
    self.endTokens = Set(tokenizer.endTokens + endTokens)
    self.banned = Set(banned)
  }

  /// Up to `count` tokens behind `text`; up to three more while the last character is incomplete, but never
  /// more than `bound`.
  func complete(_ text: [UInt8], _ count: Int, bound: Int) throws -> Completion {
    var tokens =
      prompt + (try model.tokenizer.encode(text, parseSpecial: false, addBegin: false))
    var completion = Completion()
    while completion.texts.count < bound {
      if completion.texts.count >= count,
        completion.texts.count >= count + 3 || heldCount(completion.text) == 0
      {
        break
      }
      let (token, probability) = try next(tokens)
      if endTokens.contains(token) {
        completion.hasEnded = true
        break
      }
      tokens.append(token)
      completion.texts.append(
        model.tokenizer.isControl(token) ? [] : Array(model.tokenizer.bytes(of: token)))
      completion.probabilities.append(probability)
    }
    return completion
  }

  /// The most probable token after `tokens`.
  private func next(_ tokens: [Int32]) throws -> (token: Int32, probability: Double) {
    if let found = known[tokens] { return found }
    let sequence = engine.makeSequence(adapter: adapter)
    defer { engine.removeSequence(sequence) }
    for token in tokens { try engine.append(token, to: sequence) }
    let row = engine.wantLogits()
    try engine.run(cancel: CancelFlag())
    let size = min(model.outputSize, model.tokenizer.vocabularySize)
    let logits = (0..<size).map { id in
      model.tokenizer.isReal(Int32(id)) && !banned.contains(Int32(id))
        ? Double(engine.logits(row: row)[id]) : -.infinity
    }
    let best = logits.indices.reduce(0) { logits[$1] > logits[$0] ? $1 : $0 }
    let sum = logits.reduce(0) { $0 + exp($1 - logits[best]) }
    known[tokens] = (Int32(best), 1 / sum)
    return known[tokens]!
  }
}

/// Bytes at the end of `bytes` that some further bytes would make a character of.
func heldCount(_ bytes: [UInt8]) -> Int {
  if let last = bytes.last, last < 0x80 { return 0 }
  let trails: [UInt8] = [0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF]
  for length in [3, 2, 1] where length <= bytes.count {
    let tail = Array(bytes.suffix(length))
    var longer = [tail]
    for _ in length..<4 {
      longer = longer.flatMap { start in trails.map { start + [$0] } }
      for whole in longer {
        if let text = String(validating: whole, as: UTF8.self), text.unicodeScalars.count == 1 {
          return length
        }
      }
    }
  }
  return 0
}

/// `bytes` without what does not end between characters.
func whole(_ bytes: [UInt8]) -> [UInt8] {
  var bytes = bytes
  while heldCount(bytes) > 0 { bytes.removeLast(heldCount(bytes)) }
  return bytes
}

/// What slow nudging came to.
struct SlowOutcome {
  var text: [UInt8] = []
  /// For each byte of the text.
  var isNudged: [Bool] = []
  var finish = FinishReason.none
  var tokenCount = 0
  var nudgedCount = 0
  /// For each round: the nudge, and what the base wrote.
  var rounds: [(nudge: String, run: String)] = []
}

/// Nudging, written down as algorithms.md §5 and the reference's `completion_with_nudging` and
/// `complete_with_base` have it.
struct SlowNudging {
  var base: SlowSide
  var nudger: SlowSide
  var threshold = 0.3
  var burst = 16
  var maximumRounds = 150
  var maximumTokens = 128
  var stops: [[UInt8]] = []

  func run() throws -> SlowOutcome {
    var outcome = SlowOutcome()
    var lastNudge: [UInt8]?
    var repeats = 0
    var round = 0
    while outcome.finish == .none {
      if round == maximumRounds {
        outcome.finish = .rounds
        break
      }
      if outcome.tokenCount == maximumTokens {
        outcome.finish = .length
        break
      }
      round += 1
      let left = maximumTokens - outcome.tokenCount
      let draft = try nudger.complete(outcome.text, burst, bound: left)
      if draft.hasEnded {
        append(draft.texts, draft.text.count, true, &outcome)
        if outcome.finish == .none {
          outcome.tokenCount += 1
          outcome.nudgedCount += 1
          outcome.finish = .end
        }
        break
      }
      let text = whole(draft.text)
      if text.isEmpty, draft.texts.count >= left {
        outcome.finish = .length
        break
      }
      var nudge = text
      var isTaken = false
      let cuts = cuts(text)
      if !cuts.isEmpty {
        nudge = Array(text[..<cuts.last!])
        for cut in cuts {
          let rest = text[cut...]
          let word = Array(rest.prefix(1) + rest.dropFirst().prefix { $0 != 0x20 })
          if word == [0x20] { continue }
          let answer = try base.complete(outcome.text + text[..<cut], 1, bound: 1)
          if answer.hasEnded {
            let probability = try base.endProbability(outcome.text + text[..<cut])
            guard probability >= threshold else { continue }
            nudge = Array(text[..<cut])
            break
          }
          let first = answer.texts[0]
          if !first.isEmpty && word.starts(with: first) || answer.probabilities[0] >= threshold {
            nudge = Array(text[..<cut])
            isTaken = true
            break
          }
        }
      }
      repeats = nudge == lastNudge ? repeats + 1 : 0
      lastNudge = nudge
      if repeats == 3 {
        outcome.finish = .repetition
        break
      }
      append(draft.texts, nudge.count, true, &outcome)
      let before = outcome.text.count
      if isTaken, outcome.finish == .none, outcome.tokenCount < maximumTokens {
        try completeWithBase(&outcome)
      }
      outcome.rounds.append(
        (
          String(decoding: nudge, as: UTF8.self),
          String(decoding: outcome.text[min(before, outcome.text.count)...], as: UTF8.self)
        ))
    }
    return outcome
  }

  private func completeWithBase(_ outcome: inout SlowOutcome) throws {
    var head = 1
    let start = outcome.text.count
    while outcome.finish == .none, outcome.tokenCount < maximumTokens {
      let left = maximumTokens - outcome.tokenCount
      let answer = try base.complete(outcome.text, burst, bound: left)
      let said = Array(outcome.text[start...]) + answer.texts.prefix(head).flatMap { $0 }
      let prefix = outcome.text + answer.texts.prefix(head).flatMap { $0 }
      // The token by which the base took over stays, whatever follows.
      var kept = answer.texts.count
      if let first = (head..<max(head, answer.texts.count)).first(where: {
        answer.probabilities[$0] < threshold
      }) {
        kept = first
      }
      let wasCut = kept < answer.texts.count
      let whole = whole(answer.text)
      let headLength = answer.texts.prefix(head).reduce(0) { $0 + $1.count }
      let completion = Array(whole.dropFirst(headLength))
      if answer.texts.count > head, left >= burst, holds(said, completion) {
        append(answer.texts, wholeLength(answer.texts, head), false, &outcome)
        return
      }
      let keptLength = wholeLength(answer.texts, kept)
      let new = Array(answer.text[..<keptLength].dropFirst(headLength))
      if wordCount(new) > 5, holds(prefix, new) {
        append(answer.texts, wholeLength(answer.texts, head), false, &outcome)
        return
      }
      append(answer.texts, keptLength, false, &outcome)
      if wasCut || answer.hasEnded || keptLength == 0 { return }
      head = 0
    }
  }

  private func wholeLength(_ texts: [[UInt8]], _ count: Int) -> Int {
    whole(texts.prefix(count).flatMap { $0 }).count
  }

  /// Adds the first `length` bytes of tokens; the answer ends before the first stop string.
  private func append(
    _ texts: [[UInt8]], _ length: Int, _ isNudge: Bool, _ outcome: inout SlowOutcome
  ) {
    var position = 0
    for text in texts where position < length && outcome.finish == .none {
      outcome.tokenCount += 1
      if isNudge { outcome.nudgedCount += 1 }
      for byte in text.prefix(length - position) {
        outcome.text.append(byte)
        outcome.isNudged.append(isNudge)
        let found = stops.filter { outcome.text.suffix($0.count) == $0[...] }.max {
          $0.count < $1.count
        }
        if let found {
          outcome.text.removeLast(found.count)
          outcome.isNudged.removeLast(found.count)
          outcome.finish = .stop
          break
        }
      }
      position += text.count
    }
  }

  private func holds(_ text: [UInt8], _ part: [UInt8]) -> Bool {
    guard part.count <= text.count else { return false }
    return (0...(text.count - part.count)).contains { text[$0...].starts(with: part) }
  }

  /// Where words after the first begin.
  private func cuts(_ text: [UInt8]) -> [Int] {
    let leading = text.prefix { $0 == 0x20 }.count
    return borders(text).filter { $0 > leading && heldCount(Array(text[..<$0])) == 0 }
  }

  private func wordCount(_ text: [UInt8]) -> Int {
    borders(text).filter { heldCount(Array(text[..<$0])) == 0 }.count + 1
  }

  /// Every space, and the places around characters of scripts that have none, but not behind a space.
  private func borders(_ text: [UInt8]) -> [Int] {
    var found: [Int] = []
    var position = 0
    var last: (isSpace: Bool, isUnspaced: Bool)?
    while position < text.count {
      var length = 1
      var scalar: Unicode.Scalar?
      for size in 1...4 where position + size <= text.count {
        if let text = String(validating: text[position..<position + size], as: UTF8.self),
          text.unicodeScalars.count == 1
        {
          (length, scalar) = (size, text.unicodeScalars.first!)
          break
        }
      }
      let isSpace = scalar == " "
      let isUnspaced = scalar.map { unspaced.contains($0.value) } ?? false
      if isSpace {
        found.append(position)
      } else if let last, !last.isSpace, last.isUnspaced || isUnspaced {
        found.append(position)
      }
      last = (isSpace, isUnspaced)
      position += length
    }
    return found
  }

  /// Thai to Tibetan, Burmese, Khmer, kana, Han and their punctuation; not Hangul, which has spaces.
  private let unspaced: Set<UInt32> = {
    let ranges: [ClosedRange<UInt32>] = [
      0x0E00...0x0FFF, 0x1000...0x109F, 0x1780...0x17FF, 0x19E0...0x19FF, 0x2E80...0x312F,
      0x3190...0xA4CF, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFFEF, 0x1B000...0x1B16F,
      0x20000...0x3FFFF,
    ]
    return Set(ranges.joined())
  }()
}

extension SlowSide {
  /// The probability of the end token that follows `text`.
  func endProbability(_ text: [UInt8]) throws -> Double {
    try next(prompt + model.tokenizer.encode(text, parseSpecial: false, addBegin: false))
      .probability
  }
}

/// The text with repeated ends of 30 characters and more taken off, the longest first: tried one by one.
func withoutRepeatedEnd(_ text: [UInt8]) -> [UInt8] {
  var characters = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
  while let length = (30...max(30, characters.count / 2)).last(where: {
    characters.count >= 2 * $0
      && characters.suffix($0) == characters.dropLast($0).suffix($0)
  }) {
    characters.removeLast(length)
  }
  return characters.flatMap { Array(String($0).utf8) }
}
