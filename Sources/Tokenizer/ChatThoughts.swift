/// An answer with thoughts, as Qwen 3's template takes it apart at `<think>` and `</think>`.
struct ChatThoughts {
  private let thoughts: ArraySlice<UInt8>
  private let answer: ArraySlice<UInt8>

  init(_ content: [UInt8]) {
    let all = content[...]
    guard let first = ChatText.position(of: Self.close, in: all, last: false),
      let last = ChatText.position(of: Self.close, in: all, last: true)
    else {
      (thoughts, answer) = ([], all)
      return
    }
    answer = ChatText.withoutNewlines(
      all[(last + Self.close.utf8.count)...], atStart: true, atEnd: false)
    var head = ChatText.withoutNewlines(all[..<first], atStart: false, atEnd: true)
    if let open = ChatText.position(of: Self.open, in: head, last: true) {
      head = head[(open + Self.open.utf8.count)...]
    }
    thoughts = ChatText.withoutNewlines(head, atStart: true, atEnd: false)
  }

  /// The content of the turn; the thoughts are in it only behind the last question, and there
  /// always in the last message.
  func text(isLast: Bool, isBehindQuestion: Bool) -> [UInt8] {
    guard isBehindQuestion, isLast || !thoughts.isEmpty else { return Array(answer) }
    let inner = ChatText.withoutNewlines(thoughts, atStart: true, atEnd: true)
    let outer = ChatText.withoutNewlines(answer, atStart: true, atEnd: false)
    return Array("<think>\n".utf8) + inner + Array("\n</think>\n\n".utf8) + outer
  }

  private static let open = "<think>"
  private static let close = "</think>"
}
