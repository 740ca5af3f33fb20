/// Families that write roles as words: Vicuna, DeepSeek.
extension ChatStyle {
  /// Vicuna 1.1, as llama.cpp writes it down: the model's file has no template.
  static let vicuna = vicuna("Vicuna", [vicunaSource], ChatTurn(before: "", end: "", after: "\n\n"))

  /// Orca on Vicuna's format.
  static let orcaVicuna = vicuna(
    "Orca Vicuna", [orcaVicunaSource], ChatTurn(before: "SYSTEM: ", end: "", after: "\n"))

  /// DeepSeek V2 and DeepSeek LLM.
  static let deepSeek2 = ChatStyle(
    name: "DeepSeek V2", sources: [deepSeek2Source], opening: "\u{1}",
    user: ChatTurn(before: "User: ", end: "", after: "\n\n"),
    assistant: ChatTurn(before: "Assistant: ", end: "\u{2}"),
    firstSystem: .turn(ChatTurn(before: "", end: "", after: "\n\n")),
    laterSystem: .turn(ChatTurn(before: "", end: "", after: "\n\n")), generation: "Assistant:")

  private static func vicuna(
    _ name: String, _ sources: [String], _ system: ChatTurn
  ) -> ChatStyle {
    ChatStyle(
      name: name, sources: sources, user: ChatTurn(before: "USER: ", end: "", after: "\n"),
      assistant: ChatTurn(before: "ASSISTANT: ", end: "</s>", after: "\n"),
      firstSystem: .turn(system), laterSystem: .turn(system), generation: "ASSISTANT:")
  }

  /// vicuna-13b-1.1
  private static let vicunaSource = #"""
    {%- for message in messages %}{%- if message['role'] == 'system' -%}{{- '' + message['content'] + '

    ' -}}{%- else -%}{%- if message['role'] == 'user' -%}{{-'USER: ' + message['content'] + '
    '-}}{%- else -%}{{-'ASSISTANT: ' + message['content'] + '</s>
    ' -}}{%- endif -%}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{-'ASSISTANT:'-}}{%- endif -%}
    """#

  /// Orca-Vicuna
  private static let orcaVicunaSource = #"""
    {%- for message in messages %}{%- if message['role'] == 'system' -%}{{-'SYSTEM: ' + message['content'] + '
    ' -}}{%- else -%}{%- if message['role'] == 'user' -%}{{-'USER: ' + message['content'] + '
    '-}}{%- else -%}{{-'ASSISTANT: ' + message['content'] + '</s>
    ' -}}{%- endif -%}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{-'ASSISTANT:'-}}{%- endif -%}
    """#

  /// DeepSeek-V2-Chat
  private static let deepSeek2Source = #"""
    {% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '

    ' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% elif message['role'] == 'system' %}{{ message['content'] + '

    ' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
    """#
}
