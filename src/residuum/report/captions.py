"""How to read each figure of an inspection, in a few plain sentences, in English and in Korean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    ko: str

    def in_languages(self, languages: Sequence[Language]) -> list[tuple[Language, str]]:
        """The text once for each language, with the language's code."""
        return [(language, self.en if language == "en" else self.ko) for language in languages]

    def joined(self, languages: Sequence[Language]) -> str:
        """The text in one line, for headings."""
        return " / ".join(dict.fromkeys(text for _, text in self.in_languages(languages)))


@dataclass(frozen=True)
class Caption:
    """The heading of a part and how its figures are read."""

    title: Text
    reading: Text


CAPTIONS = {
    "filters": Caption(
        Text("First-layer filters", "첫 층의 필터"),
        Text(
            "Each square is one filter of the first convolution: the small pattern it answers to most. Grey is zero. "
            "Trained nets show edges at several angles and blobs of colour; squares that look like noise were hardly "
            "trained.",
            "사각형 하나가 첫 합성곱 층의 필터 하나이며, 그 필터가 가장 강하게 반응하는 작은 무늬입니다. 회색은 "
            "0입니다. 잘 학습된 망에서는 여러 방향의 가장자리와 색 얼룩이 보이고, 잡음처럼 보이는 필터는 거의 "
            "학습되지 않은 것입니다.",
        ),
    ),
    "activations": Caption(
        Text("Activation maps", "활성화 맵"),
        Text(
            "The strongest channels at the end of each stage, strongest first; bright is where a channel answers. "
            "Maps become coarser from stage to stage, and what they answer to becomes less like an edge and more like "
            "a part of an object. The red frame on the photo is all that the brightest place of the strongest channel "
            "can see (its receptive field, cut at the border).",
            "각 단계(stage) 끝에서 가장 강한 채널들을 강한 순서로 놓았습니다. 밝은 곳이 그 채널이 반응한 위치입니다. "
            "단계가 깊어질수록 맵은 거칠어지고, 가장자리보다는 물체의 부분에 반응합니다. 사진 위의 빨간 틀은 가장 "
            "강한 채널의 가장 밝은 점이 볼 수 있는 전체 범위(수용 영역, 사진 경계에서 잘림)입니다.",
        ),
    ),
    "cam": Caption(
        Text("Why this class", "왜 이 클래스인가"),
        Text(
            "Warm places raised the score of the named class most, by three methods. A good map lies on the object. "
            "Such a map shows where the evidence was, not what it was, and it is coarse: one value for each place of "
            "the last stage.",
            "따뜻한 색일수록 해당 클래스의 점수를 많이 올린 곳입니다. 세 가지 방법을 나란히 보여 줍니다. 좋은 맵은 "
            "물체 위에 놓입니다. 이 맵은 근거가 '어디'에 있었는지를 보여 줄 뿐 '무엇'이었는지는 말하지 않으며, 마지막 "
            "단계의 위치마다 값이 하나뿐이라 거칩니다.",
        ),
    ),
    "attribution": Caption(
        Text("A check by two other methods", "다른 두 방법으로 확인"),
        Text(
            "Integrated gradients (red raised the score, blue lowered it) and occlusion (how much the score falls "
            "when a grey square covers the place). Neither uses the maps above: where all agree, the explanation can "
            "be trusted more.",
            "통합 그래디언트(빨강은 점수를 올린 화소, 파랑은 내린 화소)와 가림 실험(그 자리를 회색 사각형으로 가렸을 "
            "때 점수가 얼마나 떨어지는가)입니다. 둘 다 위의 맵을 쓰지 않으므로, 모두 일치하는 곳의 설명은 더 믿을 "
            "만합니다.",
        ),
    ),
    "judge": Caption(
        Text("How good is the map?", "이 맵은 얼마나 좋은가"),
        Text(
            "Deletion takes the warmest places of the Grad-CAM map away first: the probability should fall fast, a "
            "low score is good. Insertion brings them back first into an empty picture: it should rise fast, a high "
            "score is good. The random columns are what maps drawn by chance get: a map that is no better says "
            "nothing.",
            "삭제(deletion)는 Grad-CAM 맵에서 뜨거운 곳부터 지웁니다. 확률이 빨리 떨어져야 하므로 점수가 낮을수록 "
            "좋습니다. 삽입(insertion)은 빈 그림에 뜨거운 곳부터 되돌립니다. 빨리 올라야 하므로 높을수록 좋습니다. "
            "무작위(random) 열은 우연히 그린 맵의 점수이며, 그보다 낫지 않은 맵은 아무것도 말해 주지 않습니다.",
        ),
    ),
    "sanity": Caption(
        Text("Does the map depend on what was learned?", "맵이 학습된 것에 의존하는가"),
        Text(
            "Weights are replaced by random ones from the last layer backwards, and the map is made anew each time. "
            "The bar is how alike the new map and the true one still are (rank correlation). It should fall towards "
            "zero: a map that survives random weights shows the picture, not the net.",
            "마지막 층부터 거꾸로 가중치를 무작위 값으로 바꾸며 매번 맵을 다시 만듭니다. 막대는 새 맵이 원래 맵과 "
            "아직 얼마나 비슷한지(순위 상관)입니다. 0으로 떨어져야 합니다. 가중치가 무작위여도 남아 있는 맵은 망이 "
            "아니라 사진을 보여 주는 것입니다.",
        ),
    ),
    "responses": Caption(
        Text("Layer responses", "층의 반응 크기"),
        Text(
            "Standard deviation of what each layer gives out, after batch normalisation and before the ReLU or the "
            "addition (He et al. 2015, Figure 7). Residual nets tend to have smaller responses than plain ones: their "
            "layers only adjust what is passed on.",
            "각 층이 내놓는 값의 표준편차입니다. 배치 정규화 뒤, ReLU나 덧셈 앞에서 잽니다(He 외 2015, 그림 7). "
            "잔차망은 일반 망보다 반응이 작은 경향이 있습니다. 층들이 전달되는 값을 조금씩 고치기만 하기 때문입니다.",
        ),
    ),
    "anatomy": Caption(
        Text("What F(x) really does", "F(x)가 실제로 하는 일"),
        Text(
            "Each residual block gives out F(x) plus its shortcut. First: how large F(x) is beside x; below the line "
            "at 1 the block changes less than it passes on. Second: the cosine between the two; near 0 the block adds "
            "something new, above 0 it strengthens, below 0 it takes away. Blocks at the start of a stage change size "
            "and stand out.",
            "잔차 블록의 출력은 F(x)와 지름길(shortcut)의 합입니다. 첫째 그림은 x에 견준 F(x)의 크기로, 1의 선보다 "
            "낮으면 블록이 전달하는 것보다 적게 바꿉니다. 둘째 그림은 둘 사이의 코사인으로, 0에 가까우면 새로운 것을 "
            "더하고, 0보다 크면 강화하고, 작으면 덜어 냅니다. 단계의 첫 블록은 크기가 바뀌므로 두드러집니다.",
        ),
    ),
    "gradients": Caption(
        Text("Gradient flow", "그래디언트의 흐름"),
        Text(
            "First: how large the gradient of the loss is at each layer's weights, from the image (left) to the "
            "classifier; a curve that falls by orders of magnitude to the left is a vanishing gradient. Second: the "
            "gradient that passes each residual block, and which part of it took the shortcut, which the residual "
            "branch.",
            "첫째 그림은 손실의 그래디언트가 각 층의 가중치에서 얼마나 큰지를 이미지 쪽(왼쪽)에서 분류기 쪽으로 보여 "
            "줍니다. 왼쪽으로 갈수록 몇 자릿수씩 작아지면 그래디언트 소실입니다. 둘째 그림은 각 잔차 블록을 지나는 "
            "그래디언트와, 그중 지름길을 지난 몫과 잔차 가지를 지난 몫입니다.",
        ),
    ),
    "jacobian": Caption(
        Text("Can a block stop a gradient?", "블록이 그래디언트를 막을 수 있는가"),
        Text(
            "The bar spans the extreme singular values of each block's Jacobian: by how much the block can stretch or "
            "shrink a small change. A gradient on its way back is scaled by a factor between the two. Before the last "
            "ReLU and after it are shown apart; rows that the ReLU sets to zero are counted, since through them "
            "nothing passes. Where a bar goes on dotted, the smallest value was not found: it lies below the solid "
            "part.",
            "막대는 각 블록 야코비 행렬의 가장 큰 특이값과 가장 작은 특이값 사이입니다. 작은 변화를 블록이 얼마나 "
            "늘이고 줄일 수 있는지를 뜻하며, 되돌아가는 그래디언트는 그 사이의 배율로 바뀝니다. 마지막 ReLU 앞과 뒤를 "
            "따로 보여 주고, ReLU가 0으로 만든 행은 아무것도 지나지 못하므로 따로 셉니다. 점선으로 이어지는 막대는 "
            "가장 작은 값을 찾지 못한 것으로, 그 값은 실선 아래에 있습니다.",
        ),
    ),
    "paths": Caption(
        Text("Paths through the net", "망을 지나는 경로들"),
        Text(
            "A residual net is a sum over paths: each block is either entered or passed by. Grey: how many paths have "
            "each length. Orange: how much of the gradient paths of that length carry together. The orange hill lies "
            "left of the grey one where short paths do most of the training (Veit et al. 2016).",
            "잔차망은 경로들의 합으로 볼 수 있습니다. 블록마다 들어가거나 지나칩니다. 회색은 길이별 경로의 수, 주황은 "
            "그 길이의 경로들이 함께 나르는 그래디언트의 몫입니다. 주황 언덕이 회색보다 왼쪽에 있으면 짧은 경로가 "
            "학습의 대부분을 맡고 있다는 뜻입니다(Veit 외 2016).",
        ),
    ),
    "maximised": Caption(
        Text("What a channel would like to see", "채널이 보고 싶어 하는 것"),
        Text(
            "Images made from noise so that one channel of a stage answers as strongly as possible. They show what a "
            "channel looks for, exaggerated: textures first, parts of objects later. They are no photos, and other "
            "images could excite the channel as much.",
            "잡음에서 출발해 한 채널이 가장 강하게 반응하도록 만든 그림입니다. 채널이 찾는 것을 과장해서 보여 줍니다. "
            "앞 단계는 결(텍스처), 뒤 단계는 물체의 부분입니다. 실제 사진이 아니며, 다른 그림도 같은 채널을 그만큼 "
            "자극할 수 있습니다.",
        ),
    ),
    "patches": Caption(
        Text("Parts of images that excite a channel", "채널을 자극하는 이미지 조각"),
        Text(
            "Each row is one channel; its pieces are those parts of the data that it answered to most, cut to what "
            "the channel can see. What the pieces of a row have in common is what the channel looks for.",
            "한 줄이 한 채널입니다. 데이터에서 그 채널이 가장 강하게 반응한 부분을 채널이 볼 수 있는 범위만큼 "
            "잘랐습니다. 한 줄의 조각들에 공통된 것이 그 채널이 찾는 것입니다.",
        ),
    ),
    "probes": Caption(
        Text("What each stage already knows", "각 단계가 이미 아는 것"),
        Text(
            "First: how often a linear classifier is right that sees only the features of one stage, averaged over "
            "all places; the dashed line is chance. It rises where the net makes classes easier to tell apart. Then "
            "the last features in two dimensions, one dot for each image, one colour for each class.",
            "첫째 그림은 한 단계의 특징(위치 평균)만 보는 선형 분류기의 정확도이고, 점선은 우연의 수준입니다. "
            "올라가는 곳에서 망이 클래스를 구별하기 쉽게 만듭니다. 다음은 마지막 특징을 2차원에 놓은 것으로, 점 "
            "하나가 이미지, 색이 클래스입니다.",
        ),
    ),
    "lesions": Caption(
        Text("Lesions: the net without some of its blocks", "절제: 블록 없이도 되는가"),
        Text(
            "Accuracy on the data when a block is taken out and only its shortcut is left, without any new training. "
            "The dashed line is the whole net. Deep residual nets lose little by most blocks (Veit et al. 2016), "
            "shallow ones more; a plain net breaks. Then several blocks taken out together, and two neighbours "
            "exchanged.",
            "한 블록을 빼고 지름길만 남겼을 때(다시 학습하지 않고)의 정확도입니다. 점선은 온전한 망입니다. 깊은 "
            "잔차망은 대부분의 블록을 빼도 거의 잃지 않고(Veit 외 2016), 얕은 망은 더 잃으며, 일반 망은 무너집니다. "
            "이어서 여러 블록을 함께 뺀 것과 이웃한 두 블록을 맞바꾼 것입니다.",
        ),
    ),
    "landscape": Caption(
        Text("The loss around the weights", "가중치 주변의 손실 지형"),
        Text(
            "The loss on some of the data when all weights are moved along random directions, each filter by its own "
            "size (Li et al. 2018); the middle is the net as it is. A wide smooth bowl is easy ground for training; "
            "sharp walls and other valleys are hard ground. Two random directions are a thin slice: shapes beside it "
            "stay unseen. White places were not computed within the time.",
            "모든 가중치를 무작위 방향으로(필터마다 그 크기에 맞춰) 옮겼을 때의 손실입니다(Li 외 2018). 가운데가 "
            "지금의 망입니다. 넓고 매끈한 그릇은 학습하기 쉬운 지형, 날카로운 벽과 여러 골짜기는 어려운 지형입니다. "
            "두 방향은 얇은 단면일 뿐이라 그 밖의 모양은 보이지 않습니다. 흰 곳은 시간 안에 계산하지 못한 곳입니다.",
        ),
    ),
}

WORDS = {
    "seen": Text("What the net sees and says", "망이 보는 것과 답"),
    "seen_reading": Text(
        "The part of each photo that reaches the net, at the size it sees, and its most probable classes.",
        "각 사진에서 망에 들어가는 부분(망이 보는 크기 그대로)과 가장 확률이 높은 클래스입니다.",
    ),
    "left_out": Text("What is not on this page, and why", "이 페이지에 없는 것과 그 까닭"),
    "part": Text("part", "부분"),
    "what": Text("what became of it", "결과"),
    "why": Text("why", "까닭"),
    "unreadable": Text("Images that could not be read", "읽을 수 없었던 이미지"),
    "interrupted": Text("interrupted: not everything is here", "중단됨: 일부만 있음"),
    "over_time": Text("the time ended first: not everything is here", "시간이 다 됨: 일부만 있음"),
    "incomplete": Text("not complete", "일부만 있음"),
    "untrained": Text(
        "These weights are random: nothing was trained, so nothing below was learned.",
        "가중치가 무작위입니다. 학습되지 않았으므로 아래의 어떤 것도 학습된 것이 아닙니다.",
    ),
    "no_class": Text("gives no classes", "클래스를 내지 않음"),
}

STATES = {
    "done": Text("done", "완료"),
    "does not apply": Text("does not apply", "해당 없음"),
    "lacks what it needs": Text("lacks what it needs", "필요한 것이 없음"),
    "did not fit the time": Text("did not fit the time", "시간 안에 끝나지 않음"),
    "interrupted": Text("interrupted", "중단됨"),
    "failed": Text("failed", "실패"),
}
