"""How to read each figure of an inspection, in a few plain sentences, in English and in Korean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from residuum.records.text import Language, Text


@dataclass(frozen=True)
class Caption:
    """The heading of a part and how its figures are read."""

    title: Text
    reading: Text


CAPTIONS = {
    "filters": Caption(
        Text("First-layer filters", "첫 층의 필터"),
        Text(
            "Each square is one filter of the first convolution: the small pattern it answers to most. Grey is "
            "zero; each filter has its own scale. Large filters (7x7, 11x11) of a well trained net show edges at "
            "several angles and blobs of colour, those that look like noise were hardly trained. 3x3 filters are "
            "too small to show much.",
            "사각형 하나가 첫 합성곱 층의 필터 하나이며, 그 필터가 가장 강하게 반응하는 작은 무늬입니다. 회색은 "
            "0이고, 밝기 척도는 필터마다 따로입니다. 잘 학습된 망의 큰 필터(7x7, 11x11)에서는 여러 방향의 에지와 색 "
            "얼룩이 보이고, 잡음처럼 보이는 것은 거의 학습되지 않은 필터입니다. 3x3 필터는 작아서 알아보기 "
            "어렵습니다.",
        ),
    ),
    "activations": Caption(
        Text("Activation maps", "활성화 맵"),
        Text(
            "The strongest channels at the end of each stage, strongest first, each in colours from its own "
            "smallest value (dark) to its largest (bright). Maps become coarser from stage to stage, and what they "
            "answer to becomes, as a rule, less like an edge and more like a part of an object. The red frame on "
            "the photo is all that the brightest place of the strongest channel can see (its receptive field, cut "
            "at the border).",
            "각 단계(stage) 끝에서 평균 활성값이 큰 채널부터 놓았습니다. 색은 채널마다 따로 정해 가장 작은 값이 "
            "어둡고 가장 큰 값이 밝습니다. 단계가 깊어질수록 맵은 거칠어지고, 대체로 에지보다는 물체의 부분에 "
            "반응합니다. 사진 위의 빨간 틀은 가장 강한 채널의 가장 밝은 점이 볼 수 있는 전체 범위(수용 영역, 사진 "
            "경계에서 잘림)입니다.",
        ),
    ),
    "cam": Caption(
        Text("Why this class", "왜 이 클래스인가"),
        Text(
            "Warm places spoke most for the named class, by three methods that weigh the maps of one layer by the "
            "gradient of the class score. Where the net decides by the object, the map lies on the object. It shows "
            "where the evidence was, not what it was, and it is coarse: one value for each place of that layer.",
            "따뜻한 색일수록 해당 클래스의 근거가 된 곳입니다. 한 층의 맵에 클래스 점수의 그래디언트로 가중치를 주는 "
            "세 가지 방법을 나란히 보여 줍니다. 망이 물체를 보고 판단했다면 맵은 물체 위에 놓입니다. 근거가 어디에 "
            "있었는지를 보여 줄 뿐 무엇이었는지는 말하지 않으며, 그 층의 위치마다 값이 하나뿐이라 거칩니다.",
        ),
    ),
    "history": Caption(
        Text("How it changed while it was trained", "학습하는 동안의 변화"),
        Text(
            "Measured on a few training images at the end of each epoch: how large the responses of the layers are, "
            "how large the gradient of the loss is in each layer's weights, and how much each block adds to its "
            "shortcut. A layer whose gradient stays far below that of the others hardly learns; where |F(x)| / |x| "
            "stays small, blocks learn small corrections.",
            "매 에폭이 끝날 때 학습 이미지 몇 장으로 잰 값입니다. 층의 반응 크기, 층별 가중치에 대한 손실 그래디언트의 "
            "크기, 그리고 각 블록이 지름길에 더하는 양을 보여 줍니다. 그래디언트가 다른 층보다 계속 훨씬 작은 층은 "
            "거의 배우지 못하며, |F(x)| / |x|가 계속 작으면 블록이 작은 수정만 배운다는 뜻입니다.",
        ),
    ),
    "attribution": Caption(
        Text("A check by two other methods", "다른 두 방법으로 확인"),
        Text(
            "Integrated gradients (red raised the score, blue lowered it, beside a grey picture) and occlusion (how "
            "much the score falls when a grey square covers the place). Neither uses the maps above: where all "
            "agree, the explanation can be trusted more.",
            "통합 그래디언트(회색 그림과 비교해 빨강은 점수를 올린 화소, 파랑은 내린 화소)와 가림 실험(그 자리를 "
            "회색 사각형으로 가렸을 때 점수가 얼마나 떨어지는가)입니다. 둘 다 위의 맵을 쓰지 않으므로, 모두 일치하는 "
            "곳의 설명은 더 믿을 만합니다.",
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
            "zero: a map that survives random weights shows the picture, not what the net has learned (Adebayo et "
            "al. 2018).",
            "마지막 층부터 거꾸로 가중치를 무작위 값으로 바꾸며 매번 맵을 다시 만듭니다. 막대는 새 맵이 원래 맵과 "
            "아직 얼마나 비슷한지(순위 상관)이며, 0에 가까워져야 합니다. 가중치가 무작위여도 남아 있는 맵은 망이 "
            "학습한 것이 아니라 사진 자체를 보여 주는 것입니다(Adebayo 외 2018).",
        ),
    ),
    "responses": Caption(
        Text("Layer responses", "층의 반응 크기"),
        Text(
            "Standard deviation of what each layer gives out, after its batch normalisation (where it has one) and "
            "before the ReLU or the addition (He et al. 2015, Figure 7). They found smaller responses in ResNets "
            "than in their plain twins, and took it as a sign that residual layers only adjust what is passed on.",
            "각 층이 내놓는 값의 표준편차입니다. 배치 정규화(있으면) 뒤, ReLU나 덧셈 앞에서 잽니다(He 외 2015, 그림 "
            "7). 이 논문은 ResNet의 반응이 깊이가 같은 plain 신경망(지름길이 없는 신경망)보다 작다는 것을 보고, 잔차 "
            "층이 전달되는 값을 조금씩 고치기만 한다는 증거로 해석했습니다.",
        ),
    ),
    "anatomy": Caption(
        Text("What F(x) really does", "F(x)가 실제로 하는 일"),
        Text(
            "Each residual block gives out F(x) plus its shortcut. First: how large F(x) is beside x; below the "
            "line at 1 the block changes less than it passes on. The second curve is the change that is left after "
            "the block's last ReLU. Second: the cosine between x and F(x); near 0 the block adds something new, "
            "above 0 it strengthens, below 0 it takes away. Blocks at the start of a stage change the size of the "
            "maps and stand out.",
            "잔차 블록의 출력은 F(x)와 지름길(shortcut)의 합입니다. 첫째 그림은 x에 견준 F(x)의 크기로, 1의 선보다 "
            "낮으면 전달하는 것보다 적게 바꿉니다. 둘째 곡선은 마지막 ReLU를 지난 뒤 남는 변화입니다. 둘째 그림은 "
            "x와 F(x)의 코사인으로, 0 근처면 새로운 것을 더하고, 0보다 크면 강화하고, 작으면 덜어 냅니다. 단계의 첫 "
            "블록은 맵의 크기를 바꾸므로 두드러집니다.",
        ),
    ),
    "gradients": Caption(
        Text("Gradient flow", "그래디언트의 흐름"),
        Text(
            "First: how large the gradient of the loss is at each layer's weights, from the image (left) to the "
            "classifier. Falling by orders of magnitude to the left, it vanishes; rising, it explodes. Second: the "
            "gradient that passes each residual block, and which part of it took the shortcut, which the residual "
            "branch; parts may cancel. Untrained nets are normalised by the batch, as in their first training step.",
            "첫째 그림은 각 층의 가중치에 대한 손실의 그래디언트 크기를 이미지 쪽(왼쪽)에서 분류기 쪽으로 보여 "
            "줍니다. 왼쪽으로 갈수록 몇 자릿수씩 작아지면 그래디언트 소실, 커지면 폭발입니다. 둘째 그림은 각 잔차 "
            "블록을 지나는 그래디언트와, 그중 지름길 몫과 잔차 가지 몫이며, 둘은 상쇄될 수 있습니다. 학습되지 않은 "
            "망은 첫 학습 단계처럼 배치 통계로 정규화합니다.",
        ),
    ),
    "jacobian": Caption(
        Text("Can a block stop a gradient?", "블록이 그래디언트를 막을 수 있는가"),
        Text(
            "The bar spans the extreme singular values of each block's Jacobian: by how much it can stretch or "
            "shrink a small change. No gradient on its way back grows by more than the largest. It cannot vanish "
            "where the smallest is above 0, unless it lies in rows that the last ReLU set to zero (dead rows), or "
            "the block gives out more values than it takes in. 'At most' is a bound: Lanczos did not find the "
            "smallest (dotted), which may be lower; 'within' is how near to it a singular value surely lies.",
            "막대는 각 블록 야코비 행렬의 최대와 최소 특잇값 사이로, 작은 변화를 얼마나 늘이고 줄일 수 있는지를 "
            "뜻합니다. 역전파되는 그래디언트는 최대 특잇값 배보다 커지지 않습니다. 최소가 0보다 크면 사라지지 "
            "않지만, 마지막 ReLU가 0으로 만든 행(dead rows)에 있거나 출력이 입력보다 많은 블록이면 예외입니다. 'at "
            "most'는 상한이며, 란초스법이 찾지 못한 최솟값(점선)은 더 작을 수 있습니다. 오차(within) 안에 "
            "특잇값이 반드시 하나 있습니다.",
        ),
    ),
    "paths": Caption(
        Text("Paths through the net", "망을 지나는 경로들"),
        Text(
            "A residual net can be unrolled into paths: each block is either entered or passed by. Grey: how many "
            "paths have each length. Orange: how much of the gradient the paths of that length carry, norms added "
            "up. Where the orange hill lies left of the grey one, short paths carry most of it, as Veit et al. 2016 "
            "found in a net of 54 blocks. Second figure: what a single path of each length carries, on average.",
            "잔차망은 경로들로 펼쳐 볼 수 있습니다. 블록마다 들어가거나 지나칩니다. 회색은 길이별 경로의 수, 주황은 "
            "그 길이의 경로들이 나르는 그래디언트의 몫(노름의 합)입니다. 주황 언덕이 회색보다 왼쪽에 있으면 짧은 "
            "경로가 대부분을 나른다는 뜻이며, Veit 외(2016)는 블록 54개인 망에서 그렇다고 보고했습니다. 둘째 그림은 "
            "길이별로 경로 하나가 평균적으로 나르는 크기입니다.",
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
            "Accuracy on the data when a block is taken out and only its shortcut is left, without any new "
            "training. The dashed line is the whole net. Veit et al. 2016 found that a residual net of 54 blocks "
            "loses little by most of them, while a plain net breaks; a net of few blocks, such as the 9 of "
            "ResNet-20, loses far more by each. Then several blocks taken out together, and two neighbours "
            "exchanged.",
            "한 블록을 빼고 지름길만 남겼을 때(다시 학습하지 않고)의 정확도입니다. 점선은 온전한 망입니다. Veit "
            "외(2016)에서 블록 54개인 잔차망은 대부분의 블록을 빼도 거의 잃지 않았고 plain 신경망은 무너졌습니다. "
            "ResNet-20처럼 블록이 9개뿐인 망은 하나를 뺄 때마다 훨씬 많이 잃습니다. 이어서 여러 블록을 함께 뺀 것과 "
            "이웃한 두 블록을 맞바꾼 것입니다.",
        ),
    ),
    "landscape": Caption(
        Text("The loss around the weights", "가중치 주변의 손실 지형"),
        Text(
            "The loss on some of the data when all weights are moved along random directions, each filter by its "
            "own size (Li et al. 2018); the middle is the net as it is. A wide smooth bowl is taken as easy ground "
            "for training, sharp walls and other valleys as hard ground. Two random directions are a thin slice: "
            "shapes beside it stay unseen. White places have no finite loss, or were not computed within the time.",
            "모든 가중치를 무작위 방향으로(필터마다 그 크기에 맞춰) 옮겼을 때, 데이터 일부에 대한 손실입니다(Li 외 "
            "2018). 가운데가 지금의 망입니다. 넓고 매끈한 그릇은 학습하기 쉬운 지형, 날카로운 벽과 여러 골짜기는 "
            "어려운 지형으로 봅니다. 두 방향은 얇은 단면일 뿐이라 그 밖의 모양은 보이지 않습니다. 흰 곳은 손실이 "
            "유한하지 않거나 시간 안에 계산하지 못한 곳입니다.",
        ),
    ),
}

WORDS = {
    "title": Text("Inside {}", "{}의 속"),
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
        "{}: random weights. Nothing was trained, so nothing here was learned. Batch normalisation has no statistics "
        "of its own yet and passes values on as they are, except where the caption says otherwise.",
        "{}: 가중치가 무작위입니다. 학습되지 않았으므로 여기 보이는 어떤 것도 학습된 것이 아닙니다. 배치 정규화는 "
        "아직 통계가 없어, 따로 적은 곳이 아니면 값을 그대로 통과시킵니다.",
    ),
}

STATES = {
    "done": Text("done", "완료"),
    "does not apply": Text("does not apply", "해당 없음"),
    "lacks what it needs": Text("lacks what it needs", "필요한 것이 없음"),
    "did not fit the time": Text("did not fit the time", "시간 안에 끝나지 않음"),
    "interrupted": Text("interrupted", "중단됨"),
    "failed": Text("failed", "실패"),
}

# What the labels inside of the figures mean, which are English everywhere: matplotlib's own fonts have no Hangul.
TERMS = {
    "std of responses": "반응의 표준편차",
    "std of responses, median layer": "층별 반응 표준편차의 중앙값",
    "share of |x|": "|x|에 대한 비",
    "|F(x)| / |x|": "F(x)와 x의 크기 비",
    "|F(x)| / |x|, median layer": "블록별 F(x)와 x의 크기 비의 중앙값",
    "distance from identity": "항등 함수와의 거리",
    "cosine(x, F(x))": "x와 F(x)의 코사인",
    "|dL/dW|": "가중치에 대한 손실 그래디언트의 크기",
    "|dL/dW|, median layer": "층별 |dL/dW|의 중앙값",
    "|dL/dx|": "블록 입력에 대한 손실 그래디언트의 크기",
    "whole": "전체",
    "by the shortcut": "지름길 몫",
    "by F": "잔차 가지 F의 몫",
    "singular values": "특잇값",
    "before the last ReLU": "마지막 ReLU 앞",
    "after it": "그 뒤",
    "pixels taken or put in (%)": "지우거나 되돌린 화소(%)",
    "probability": "확률",
    "deletion": "삭제",
    "insertion": "삽입",
    "rank correlation": "순위 상관",
    "blocks entered": "들어간 블록 수",
    "share": "몫",
    "paths": "경로 수",
    "gradient": "그래디언트",
    "gradient of one path": "경로 하나의 그래디언트",
    "accuracy": "정확도",
    "mean accuracy": "평균 정확도",
    "loss (nats)": "손실(nat)",
    "along direction 1": "방향 1을 따라",
    "direction 1": "방향 1",
    "direction 2": "방향 2",
    "step": "학습 스텝",
    "depth, from the image (0) to the classifier (1)": "깊이, 이미지(0)에서 분류기(1)까지",
}

# What stands in tables and under figures; `{}` is a number or a name.
LABELS = {
    "block": Text("block", "블록"),
    "shortcut": Text("shortcut", "지름길"),
    "cosine": Text("cosine", "코사인"),
    "from identity": Text("from identity", "항등과의 거리"),
    "std of F(x)": Text("std of F(x)", "F(x)의 표준편차"),
    "largest before ReLU": Text("largest before ReLU", "ReLU 앞 최대"),
    "largest after it": Text("largest after it", "ReLU 뒤 최대"),
    "smallest": Text("smallest", "최소"),
    "within": Text("within", "오차"),
    "dead rows": Text("dead rows", "죽은 행"),
    "photo": Text("photo", "사진"),
    "deletion": Text("deletion", "삭제"),
    "insertion": Text("insertion", "삽입"),
    "random": Text("random", "무작위"),
    "better than random": Text("better than random", "무작위보다 나은가"),
    "yes": Text("yes", "예"),
    "no": Text("no", "아니요"),
    "gradient of each layer's weights": Text("gradient of each layer's weights", "층별 가중치의 그래디언트"),
    "gradient at each block's input": Text("gradient at each block's input", "블록 입력에서의 그래디언트"),
    "without so many blocks, drawn by chance": Text(
        "without so many blocks, drawn by chance", "무작위로 고른 블록을 이만큼 뺐을 때"
    ),
    "two neighbours exchanged": Text("two neighbours exchanged", "이웃한 두 블록을 맞바꿨을 때"),
    "integrated gradients": Text("integrated gradients", "통합 그래디언트"),
    "occlusion": Text("occlusion", "가림 실험"),
}
PATTERNS = {
    "{}: {} filters of {} on {} channels": "{0}: {2} 크기, {3}채널 필터 {1}개",
    "{}: maps of {}, channels {}, ...": "{}: {} 크기의 맵, 채널 {}, ...",
    "{}, channel {}: its peak sees {} pixels": "{}, 채널 {}: 가장 밝은 점이 {} 화소를 봄",
    "{}: channels {}, one in each row": "{}: 채널 {}, 한 줄에 하나",
    "{}: channels {}": "{}: 채널 {}",
    "integrated gradients, adds up to within {}": "통합 그래디언트, 합의 오차 {}",
    "{}; random from the left on": "{}; 왼쪽부터 차례로 무작위",
    "{} of {} better than random": "{1}장 가운데 {0}장이 무작위보다 나음",
    "{} paths; the mean length by gradient is {} of {} blocks": "경로 {0}개; 그래디언트의 평균은 블록 {2}개 중 {1}개",
    "judged by {} images": "이미지 {}장으로 판정",
    "{}, {} of the variance": "{}, 분산의 {}",
    "without one block; the whole net: {} of {} images": "블록 하나를 뺐을 때; 온전한 망: 이미지 {1}장의 {0}",
    "{} images": "이미지 {}장",
    "{}: {} of {} points": "{0}: {2}점 가운데 {1}점",
    "{} of {} points": "{1}점 가운데 {0}점",
    "{} of {}, from the image to the answer": "이미지에서 답까지 {1}개 가운데 {0}개",
}

# The reasons why a part is not there, by how they begin; what follows "Try: " stays as it is.
REASONS = {
    "needs an image": "사진이 필요합니다",
    "needs a data set": "데이터 세트가 필요합니다",
    "needs a Run that recorded its layers": "층을 기록한 학습(Run)이 필요합니다",
    "did not begin when the time was over": "시간이 다 되어 시작하지 못했습니다",
    "interrupted before it began": "시작하기 전에 중단되었습니다",
    "net: is plain": "plain 신경망(지름길이 없는 신경망)입니다",
    "net: has no residual blocks": "잔차 블록이 없는 망입니다",
    "net: gives no classes": "클래스를 내지 않는 망입니다",
}


def said(text: str, languages: Sequence[Language]) -> str:
    """A label in these languages, where it is known in more than one; numbers and names as they are."""
    if text in LABELS:
        return LABELS[text].joined(languages)
    for english, korean in PATTERNS.items():
        if found := re.fullmatch(re.escape(english).replace(r"\{\}", "(.+?)"), text):
            return Text(text, korean.format(*found.groups())).joined(languages)
    return text


def explained(texts: Iterable[str]) -> str:
    """One line in Korean on the labels among these texts; empty where there is none."""
    known = [f"{text}: {TERMS[text]}" for text in dict.fromkeys(texts) if text in TERMS]
    return f"그림 속 용어 — {'; '.join(known)}." if known else ""


def reason(text: str, languages: Sequence[Language]) -> str:
    """A reason in the language of the page; in English where the page has both, or it is not known in another."""
    korean = next((own for beginning, own in REASONS.items() if text.startswith(beginning)), None)
    if tuple(languages) != ("ko",) or korean is None:
        return text
    _, _, action = text.partition("Try: ")
    return f"{korean}. 해 볼 것: {action}" if action else korean
